//go:build integration && heavy

package attack

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/internal/record"
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
			_, before := memory(t, present().Program)
			held := hold(t, address(present()), port == "metrics", n, from...)
			_, after := memory(t, present().Program)
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
	_, before := memory(t, present().Program)
	shop := newNamespace(t, "shop")
	who, note := as(t, writer, shop), strings.Repeat("x", 120_000)
	defer inParallel(t, "deletions", n, func(i int) error {
		return insist(func() error { return admin.Delete(t.Context(), newWeChatToken(shop, fmt.Sprintf("large-%d", i), "")) })
	})
	inParallel(t, "WeChatTokens", n, func(i int) error {
		wt := newWeChatToken(shop, fmt.Sprintf("large-%d", i), newAppID())
		wt.Annotations = map[string]string{"a": note, "b": note}
		wt.Spec.Suspend = true
		return insist(func() error { return who.Create(t.Context(), wt.DeepCopy()) })
	})
	created, _ := memory(t, present().Program)
	restart(t)
	for range 5 {
		timeToToken(t, shop) // it works on
	}
	after, most := memory(t, present().Program)
	t.Attr("resident-MB", fmt.Sprint(created))
	t.Attr("restarted-MB", fmt.Sprint(after))
	t.Logf("the manager holds %d MB, %d after a restart, at most %d so far; without them at most %d", created, after, most, before)
	if after > before+32 || most > 200 {
		t.Errorf("the manager holds %d MB, at most %d so far; without them it held at most %d, and its limit is 256", after, most, before)
	}
}

func TestForgeriesTakeNoMemory(t *testing.T) {
	const n = 300
	tried(t, editor, "%d forged Secrets with 400 KB of data or of an owner's name and UID, and as many WeChatTokens with 240 KB of annotations", n)
	v := newVictim(t, newNamespace(t, "shop"))
	evil, bearer := newNamespace(t, "evil"), readerOf(t, v.WeChatToken)
	who, note := as(t, editor, evil), strings.Repeat("x", 120_000)
	// most is what each program has held at most since a restart.
	most := func(restarted bool) map[string]int {
		if restarted {
			restart(t)
			restartServer(t)
		}
		timeToToken(t, v.Namespace)
		awaitServed(t, v.WeChatToken, bearer, weChat.Valid)
		_, ofManager := memory(t, present().Program)
		_, ofServer := memory(t, server().Program)
		return map[string]int{"manager": ofManager, "token-server": ofServer}
	}
	before := most(true)
	name := func(i int) string { return fmt.Sprintf("large-%d", i) }
	defer inParallel(t, "deletions", n, func(i int) error {
		return insist(func() error { return admin.Delete(t.Context(), newSecret(evil, name(i), nil)) })
	})
	inParallel(t, "forgeries", n, func(i int) error {
		wt := newWeChatToken(evil, name(i), v.Spec.AppID)
		wt.Annotations, wt.Spec.Suspend = map[string]string{"a": note, "b": note}, true
		if err := insist(func() error { return who.Create(t.Context(), wt.DeepCopy()) }); err != nil {
			return err
		}
		wt.UID = v.UID
		s := record.Render(wt, freshRecord(wt, forged), wrongKey)
		if o := &s.OwnerReferences[0]; i%2 == 0 {
			s.Data["large"] = []byte(strings.Repeat("x", 400_000))
		} else {
			o.Name, o.UID = strings.Repeat("x", 200_000), types.UID(fmt.Sprint(i, note))
		}
		return insist(func() error { return who.Create(t.Context(), s.DeepCopy()) })
	})
	for when, during := range map[string]map[string]int{"while they came": most(false), "after a restart": most(true)} {
		for program, mb := range during {
			t.Attr(program+"-MB", fmt.Sprint(mb))
			t.Logf("the %s has held up to %d MB %s, and %d without them", program, mb, when, before[program])
			if mb > before[program]+64 {
				t.Errorf("the %s has held %d MB %s, and %d before", program, mb, when, before[program])
			}
		}
	}
}
