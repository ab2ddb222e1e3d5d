package controllers

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/secretcache"
	"wechattoken.io/operator/internal/contest"
)

// memories are those of all WeChatTokens, by their keys.
type memories struct{ byKey sync.Map }

// memory is what this process remembers of a WeChatToken from one reconcile to the
// next. It belongs to the one worker that reconciles the WeChatToken.
type memory struct {
	uid       types.UID
	looked    bool      // its target was looked for before
	hadNews   bool      // for the status; the reconcile to publish it in is queued
	publishAt time.Time // not before; zero if there is nothing to publish
	last      lastWrite
	target    string   // the name of the Secret that it had last
	earlier   []string // names of Secrets that it may still have from before
}

// isFirst reports whether the target of the WeChatToken was not looked for yet. The Secrets
// that it may still have from before are known then.
func (m *memory) isFirst(secrets *secretcache.Cache, wt *v1alpha1.WeChatToken) bool {
	if !m.looked {
		m.earlier = secrets.OwnedBy(wt.Namespace, wt.UID)
	}
	return !m.looked
}

// lastWrite is what the target of a WeChatToken was made to hold last.
type lastWrite struct {
	what       string // a fingerprint of all but the budget
	token      string // its fingerprint
	replacedAt time.Time
	repairs    contest.Effect // the same was written once more
}

func (all *memories) of(wt *v1alpha1.WeChatToken) *memory {
	key := client.ObjectKeyFromObject(wt)
	if known, ok := all.byKey.Load(key); ok && known.(*memory).uid == wt.UID { //nolint:forcetypeassert // nothing else is stored
		return known.(*memory) //nolint:forcetypeassert // nothing else is stored
	}
	m := &memory{uid: wt.UID}
	all.byKey.Store(key, m)
	return m
}

func (all *memories) forget(key types.NamespacedName) { all.byKey.Delete(key) }

// wrote notes what the plan has made the target hold.
func (m *memory) wrote(o *observation, p plan, now time.Time) {
	repairs := m.last.repairs
	if p.repair {
		repairs = repairs.Done(now, o.repairPause(p.write))
	}
	m.last = lastWrite{contentsOf(o, p.write), p.write.Token.Fingerprint(), p.write.ReplacedAt, repairs}
}

// maxEarlier bounds the names that are remembered of one WeChatToken. They are read
// at each reconcile until their Secrets are gone.
const maxEarlier = 8

// rename notes the names that the spec gives, now that what is there under the name
// of the target is known.
func (m *memory) rename(o *observation) {
	target := o.wt.TokenSecretName()
	if m.target != "" && m.target != target {
		m.earlier = append(m.earlier, m.target)
		m.target = ""
	}
	if o.target != nil {
		m.target = target
	}
	m.earlier = slices.DeleteFunc(m.earlier, func(name string) bool {
		return name == target || name == o.wt.Spec.AppSecretRef.Name && !o.wt.Spec.HasSource()
	})
	m.earlier = m.earlier[max(len(m.earlier)-maxEarlier, 0):]
}

// gone notes that the WeChatToken has no Secret of an earlier name any more.
func (m *memory) gone(name string) {
	m.earlier = slices.DeleteFunc(m.earlier, func(n string) bool { return n == name })
}
