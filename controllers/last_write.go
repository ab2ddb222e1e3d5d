package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// writes is what this process has written last for each WeChatToken.
type writes struct {
	mu    sync.Mutex
	byKey map[types.NamespacedName]lastWrite
}

// lastWrite is what the target of a WeChatToken was made to hold last.
type lastWrite struct {
	uid        types.UID
	what       string // a fingerprint of all but the budget
	token      string // its fingerprint
	replacedAt time.Time
	repairedAt time.Time // when the same was last written once more
}

func (w *writes) of(key types.NamespacedName, uid types.UID) lastWrite {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.byKey[key]; last.uid == uid {
		return last
	}
	return lastWrite{}
}

func (w *writes) note(key types.NamespacedName, o *observation, p plan, now time.Time) {
	last := lastWrite{uid: o.wt.UID, what: contentsOf(o, p.write), token: p.write.Token.Fingerprint(), replacedAt: p.write.ReplacedAt, repairedAt: o.last.repairedAt}
	if p.repair {
		last.repairedAt = now
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = map[types.NamespacedName]lastWrite{}
	}
	w.byKey[key] = last
}

func (w *writes) forget(key types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.byKey, key)
}
