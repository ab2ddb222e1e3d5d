package consumers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

// memory is what this process knows of a WeChatToken beside what the cache has. It
// belongs to the one worker that reconciles the WeChatToken.
type memory struct {
	seen     bool                  // the WeChatToken was reconciled before
	version  string                // of the WeChatToken after the last status that was written
	token    string                // fingerprint of the token that the rollouts are for
	rollouts map[types.UID]rollout // by workload

	touchedFor  string             // what the Secret held last, see record.Contents
	cancel      context.CancelFunc // ends the touch for it; nil before the first
	touchResult chan string        // has a place for its refusal; nil before the first
	refusal     *string            // of the last touch, empty for none; nil if none has ended

	others      []v1alpha1.Consumer // that no watch finds
	scanned     bool                // a scan has ended
	scanning    bool                // one is under way, and wakes us at its end
	scannedFor  string              // what the Secret held then, see record.Contents
	scanAgain   time.Time           // when the next one is due at the latest; zero if only the next token asks for it
	scanRefusal string              // of the last one, empty for none
}

// restartsFor forgets the rollouts that were for another token, and those of other
// workloads than the given ones.
func (m *memory) restartsFor(stored *record.Record, found []*workload, others []v1alpha1.Consumer) {
	before, token := m.rollouts, ""
	if stored != nil {
		token = stored.Token.Fingerprint()
	}
	if m.token != token {
		before = nil
	}
	m.token, m.rollouts = token, map[types.UID]rollout{}
	keep := func(id types.UID) {
		if known, ok := before[id]; ok {
			m.rollouts[id] = known
		}
	}
	for _, w := range found {
		keep(w.uid)
	}
	for _, o := range others {
		keep(idOf(o))
	}
}
