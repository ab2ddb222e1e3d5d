package tokenserver

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

// strangers is how many Secrets of a namespace are held that no WeChatToken names: the
// watch may show a Secret before its WeChatToken. Anybody who edits a namespace can make
// any number of Secrets there that look like ours.
const strangers = 64

// held is what the server knows. It has of each WeChatToken and of its Secret what an
// answer needs: 10,000 of them take some MiB.
type held struct {
	mu      sync.RWMutex
	spaces  map[string]*space // by namespace
	waiting map[types.NamespacedName][]chan struct{}
}

type space struct {
	objects map[string]*object
	secrets map[string]*secret
	dropped bool // some Secret was: another one may be missing
}

// object is a WeChatToken.
type object struct {
	name       string
	uid        types.UID
	secretName string
	appID      string // empty for one that takes the token of another
	mode       v1alpha1.Mode
	tickets    [len(record.TicketTypes)]bool

	ready, ticketsReady *condition    // nil while it is True
	fingerprint         string        // of the token that the status tells of
	overlap             time.Duration // from when that token is due to be replaced to its end
	handledReport       string
}

// condition is what a client may read of a condition that is not True.
type condition struct {
	isFalse         bool // or else unknown
	reason, message string
}

// secret is what the operator has written into a Secret.
type secret struct {
	owner         types.UID // of the WeChatToken that controls it
	ownerName     string
	appID         string
	mode          v1alpha1.Mode
	obtainedAt    time.Time
	token         value
	tickets       *[len(record.TicketTypes)]value // nil if there are none
	handledReport string
}

// value is a token or a ticket; the zero value is none.
type value struct {
	text      string
	expiresAt time.Time
}

// valueFor is what the Secret holds for a WeChatToken that names it: the zero value if
// it is not of that, or of the account that the spec names now.
func (s *secret) valueFor(o *object, what int) value {
	switch {
	case s == nil || s.owner != o.uid || o.appID != "" && (s.appID != o.appID || s.mode != o.mode):
		return value{}
	case what == theToken:
		return s.token
	case s.tickets == nil:
		return value{}
	}
	return s.tickets[what]
}

func (v value) fingerprint() string { return record.Fingerprint(v.text) }

func newHeld() *held {
	return &held{spaces: map[string]*space{}, waiting: map[types.NamespacedName][]chan struct{}{}}
}

// ahead reports whether a clock in the future has written the Secret.
func (s *secret) ahead(now time.Time) bool {
	return (&record.Token{ObtainedAt: s.obtainedAt}).Ahead(now)
}

// get is a WeChatToken and the Secret that it names. Either is nil if it is not there.
// Neither is changed by anybody.
func (h *held) get(id types.NamespacedName) (*object, *secret) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	sp := h.spaces[id.Namespace]
	if sp == nil || sp.objects[id.Name] == nil {
		return nil, nil
	}
	o := sp.objects[id.Name]
	return o, sp.secrets[o.secretName]
}

// changed is closed at the next change of a WeChatToken or of a Secret that it controls.
// done must be called when nobody waits any more.
func (h *held) changed(id types.NamespacedName) (next <-chan struct{}, done func()) {
	c := make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting[id] = append(h.waiting[id], c)
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		kept := h.waiting[id][:0]
		for _, w := range h.waiting[id] {
			if w != c {
				kept = append(kept, w)
			}
		}
		if h.waiting[id] = kept; len(kept) == 0 {
			delete(h.waiting, id)
		}
	}
}

// wake is called with the lock.
func (h *held) wake(namespace, name string) {
	id := types.NamespacedName{Namespace: namespace, Name: name}
	for _, c := range h.waiting[id] {
		close(c)
	}
	delete(h.waiting, id)
}

func (h *held) space(namespace string) *space {
	if h.spaces[namespace] == nil {
		h.spaces[namespace] = &space{objects: map[string]*object{}, secrets: map[string]*secret{}}
	}
	return h.spaces[namespace]
}

func (h *held) count() (n int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, sp := range h.spaces {
		n += len(sp.objects)
	}
	return n
}

func (h *held) putObject(wt *v1alpha1.WeChatToken) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.space(wt.Namespace).objects[wt.Name] = objectOf(wt)
	h.wake(wt.Namespace, wt.Name)
}

func (h *held) dropObject(namespace, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.space(namespace).objects, name)
	h.forgetIfEmpty(namespace)
	h.wake(namespace, name)
}

func (h *held) putSecret(s *corev1.Secret) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addSecret(s)
}

// lacks is the name of the Secret that a WeChatToken names, if it may have been dropped;
// otherwise it is empty.
func (h *held) lacks(id types.NamespacedName) (secret string) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	sp := h.spaces[id.Namespace]
	if sp == nil || !sp.dropped || sp.objects[id.Name] == nil || sp.secrets[sp.objects[id.Name].secretName] != nil {
		return ""
	}
	return sp.objects[id.Name].secretName
}

// restore takes a Secret that was dropped, unless the watch has shown it again.
func (h *held) restore(s *corev1.Secret) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.space(s.Namespace).secrets[s.Name] == nil {
		h.addSecret(s)
	}
}

func (h *held) addSecret(s *corev1.Secret) {
	sp, now := h.space(s.Namespace), secretOf(s)
	if now == nil {
		delete(sp.secrets, s.Name)
		return
	}
	if len(sp.secrets) >= len(sp.objects)+strangers && sp.secrets[s.Name] == nil {
		sp.dropStranger()
	}
	if o := sp.objects[now.ownerName]; o != nil && o.uid == now.owner {
		now.share(o)
	}
	sp.secrets[s.Name] = now
	h.wake(s.Namespace, now.ownerName)
}

// dropStranger makes room: of so many Secrets, a large part is of no WeChatToken.
func (sp *space) dropStranger() {
	for name, s := range sp.secrets {
		if o := sp.objects[s.ownerName]; o == nil || o.uid != s.owner || o.secretName != name {
			delete(sp.secrets, name)
			sp.dropped = true
			return
		}
	}
}

func (h *held) dropSecret(namespace, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.space(namespace).secrets[name]; s != nil {
		h.wake(namespace, s.ownerName)
	}
	delete(h.space(namespace).secrets, name)
	h.forgetIfEmpty(namespace)
}

func (h *held) forgetIfEmpty(namespace string) {
	if sp := h.spaces[namespace]; len(sp.objects)+len(sp.secrets) == 0 {
		delete(h.spaces, namespace)
	}
}

// replaceObjects takes all WeChatTokens of a namespace, or of all if it is empty.
func (h *held) replaceObjects(namespace string, all []*v1alpha1.WeChatToken) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, sp := range h.spaces {
		if namespace == "" || name == namespace {
			sp.objects = map[string]*object{}
		}
	}
	for _, wt := range all {
		h.space(wt.Namespace).objects[wt.Name] = objectOf(wt)
	}
	h.wakeAll()
}

// replaceSecrets takes all Secrets of a namespace, or of all if it is empty.
func (h *held) replaceSecrets(namespace string, all []*corev1.Secret) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, sp := range h.spaces {
		if namespace == "" || name == namespace {
			sp.secrets, sp.dropped = map[string]*secret{}, false
		}
	}
	for _, s := range all {
		h.addSecret(s)
	}
	h.wakeAll()
}

func (h *held) wakeAll() {
	for id := range h.waiting {
		h.wake(id.Namespace, id.Name)
	}
}
