package wechattest_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestManyCallersAtOnce(t *testing.T) {
	const callers, rounds = 32, 50
	s, c := inMemory(t, wechattest.Config{OpenAccounts: true, Life: time.Hour, ForceSpacing: -1, ForcedPerDay: -1})
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			mine := fmt.Sprintf("wx%016x", i/2)
			for range rounds {
				stable := c.post(stableRequest{GrantType: grant, AppID: mine, Secret: secret})
				classic := c.classicOf(grant, mine, secret)
				for _, token := range []string{stable.AccessToken, classic.AccessToken} {
					if got := c.business(token).Errcode; got != 0 {
						t.Errorf("errcode of a new token: got %d, want 0", got)
					}
				}
				s.Rotate(mine)
				s.SetFault(wechattest.Fault{AppID: "nobody", Kind: wechattest.FaultReset, For: time.Second})
				s.Counts(mine)
			}
		})
	}
	wg.Wait()

	got := s.Counts("")
	if got.Stable.OK != callers*rounds || got.Stable.Rotations != callers/2 {
		t.Errorf("stable: got %d calls and %d tokens, want %d and %d", got.Stable.OK, got.Stable.Rotations, callers*rounds, callers/2)
	}
	if got.Classic.Rotations != callers*rounds || got.OutsideRotations != callers*rounds {
		t.Errorf("classic: got %d and %d rotations, want %d each", got.Classic.Rotations, got.OutsideRotations, callers*rounds)
	}
}

func BenchmarkStable(b *testing.B) {
	_, c := inMemory(b, wechattest.Config{OpenAccounts: true, StablePerMinute: -1, StablePerDay: -1})
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			body := asJSON(stableRequest{GrantType: grant, AppID: fmt.Sprintf("wx%016x", i%10_000), Secret: secret})
			if _, err := c.try(b.Context(), http.MethodPost, "/cgi-bin/stable_token", body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
