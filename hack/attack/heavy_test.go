//go:build integration && heavy

package attack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// heavy tells the other attacks to be as large as those of a night, too.
const heavy = true

func TestSilentConnectionsCostNoMemory(t *testing.T) {
	const n = 10_000
	var from []string
	for i := range 10 {
		from = append(from, fmt.Sprintf("127.0.1.%d", i+1))
	}
	for port, address := range map[string]func(*manager) string{
		"metrics": func(m *manager) string { return m.metrics },
		"health":  func(m *manager) string { return m.Health },
	} {
		t.Run(port, func(t *testing.T) {
			tried(t, peer, "%d silent connections to the port for %s", n, port)
			restart(t)
			shop := newNamespace(t, "shop")
			timeToToken(t, shop)
			_, before := present().memory(t)
			held := hold(t, address(present()), port == "metrics", n, from...)
			_, after := present().memory(t)
			t.Attr("more-MB", fmt.Sprint(after-before))
			t.Logf("%d connections are open; the manager holds at most %d MB, %d before", held, after, before)
			if after > before+32 {
				t.Errorf("the manager holds up to %d MB, want at most %d", after, before+32)
			}
			timeToToken(t, shop)
		})
	}
}

func TestLargeObjectsAreNotKept(t *testing.T) {
	const n = 1300
	tried(t, writer, "%d suspended WeChatTokens with 240 KB of annotations each", n)
	restart(t)
	_, before := present().memory(t)
	shop := newNamespace(t, "shop")
	who, note := as(t, writer, shop), strings.Repeat("x", 120_000)
	// etcd is slow with as much, and to delete it at once takes too long an answer.
	insist := func(do func() error) (err error) {
		for range 10 {
			if err = do(); err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
				return nil
			}
			time.Sleep(time.Second)
		}
		return err
	}
	defer inParallel(t, "deletions", n, func(i int) error {
		return insist(func() error { return admin.Delete(t.Context(), newWeChatToken(shop, fmt.Sprintf("large-%d", i), "")) })
	})
	inParallel(t, "WeChatTokens", n, func(i int) error {
		wt := newWeChatToken(shop, fmt.Sprintf("large-%d", i), newAppID())
		wt.Annotations = map[string]string{"a": note, "b": note}
		wt.Spec.Suspend = true
		return insist(func() error { return who.Create(t.Context(), wt.DeepCopy()) })
	})
	created, _ := present().memory(t)
	restart(t)
	for range 5 {
		timeToToken(t, shop) // it works on
	}
	after, most := present().memory(t)
	t.Attr("resident-MB", fmt.Sprint(created))
	t.Attr("restarted-MB", fmt.Sprint(after))
	t.Logf("the manager holds %d MB, %d after a restart, at most %d so far; without them at most %d", created, after, most, before)
	if after > before+32 || most > 200 {
		t.Errorf("the manager holds %d MB, at most %d so far; without them it held at most %d, and its limit is 256", after, most, before)
	}
}
