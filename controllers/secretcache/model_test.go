package secretcache

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// model is an API server's Secrets in memory, with versions and a log of what has
// changed. Two controllers use them through one Cache while the watch lags: the
// writer reads both Secrets of an object and writes its target, the follower only
// reads.
type model struct {
	dice    *rand.Rand
	version uint64
	epoch   uint64 // restores from a backup so far
	secrets map[string]*corev1.Secret
	backup  map[string]*corev1.Secret
	saved   uint64 // version of backup
	log     []change
	made    int

	cache *Cache
	into  *store
	cut   bool
	list  func() // a list that is on its way

	objects          map[types.NamespacedName]Names
	writer, follower actor
}

// change is an event of the watch.
type change struct {
	secret *corev1.Secret
	gone   bool
}

// actor is a controller.
type actor struct {
	queue *woken
	saw   map[types.NamespacedName]map[string]string // contents by object and Secret
	under map[types.NamespacedName]func()            // what is on its way for an object
}

func newModel(t *testing.T, seed uint64, namespace string) *model {
	t.Helper()
	m := &model{
		dice: rand.New(rand.NewPCG(seed, 0)), version: 16, secrets: map[string]*corev1.Secret{},
		cache: New(&reader{}, ours), objects: map[types.NamespacedName]Names{},
	}
	m.into = &store{cache: m.cache, namespace: namespace}
	for a, ownWrites := range map[*actor]bool{&m.writer: false, &m.follower: true} {
		*a = actor{subscribe(t, m.cache, ownWrites), map[types.NamespacedName]map[string]string{}, map[types.NamespacedName]func(){}}
	}
	_ = m.into.Replace(nil, "16")
	return m
}

func (m *model) change(name string, s *corev1.Secret) *corev1.Secret {
	m.version += 16 // so that no version is given again after a restore: the last four bits are the epoch
	m.version = m.version&^15 | m.epoch
	gone := s == nil
	if gone {
		s = m.secrets[name].DeepCopy()
		delete(m.secrets, name)
	} else {
		m.made++
		s.Namespace, s.Name = "web", name
		s.Data = map[string][]byte{"contents": []byte(strconv.Itoa(m.made))}
		m.secrets[name] = s
	}
	s.ResourceVersion = strconv.FormatUint(m.version, 10)
	m.log = append(m.log, change{s.DeepCopy(), gone})
	return s.DeepCopy()
}

func contentsOf(s *corev1.Secret) string {
	if s == nil {
		return ""
	}
	return string(s.Data["contents"])
}

func (m *model) read(name string) *corev1.Secret {
	if s := m.secrets[name]; s != nil {
		return s.DeepCopy()
	}
	return nil
}

// show lets the watch see the next event, or a list if it was cut.
func (m *model) show() {
	switch {
	case m.list != nil:
		m.list()
		m.list = nil
	case m.cut:
		var items []any
		for _, name := range slices.Sorted(maps.Keys(m.secrets)) {
			items = append(items, metaOf(m.read(name)))
		}
		m.cut, m.log = false, nil
		at := strconv.FormatUint(m.version, 10)
		m.list = func() { _ = m.into.Replace(items, at) }
	case len(m.log) > 0:
		next := m.log[0]
		m.log = m.log[1:]
		if next.gone {
			_ = m.into.Delete(metaOf(next.secret))
		} else {
			_ = m.into.Update(metaOf(next.secret))
		}
	}
}

// reconcile does what a reconcile does: it looks at both Secrets, and the writer
// may write the target. What it reads and writes is on its way for a while.
func (m *model) reconcile(a *actor, object types.NamespacedName) {
	delete(a.queue.keys, object)
	names, exists := m.objects[object]
	if !exists {
		m.cache.Forget(object)
		delete(a.saw, object)
		return
	}
	m.cache.SetNames(object, names)
	saw := map[string]string{}
	a.saw[object] = saw
	var land []func()
	var target *corev1.Secret
	for _, id := range names.in(object.Namespace) {
		s := m.cache.known(id, "")
		if s == nil {
			if s = m.read(id.Name); s != nil {
				land = append(land, func() { m.cache.remember(s) })
			}
		}
		saw[id.Name] = contentsOf(s)
		if id.Name == names.Target {
			target = s
		}
	}
	if a == &m.writer && m.dice.IntN(2) == 0 {
		land = append(land, func() { m.write(object, names.Target, target, saw) })
	}
	a.under[object] = func() {
		for _, do := range land {
			do()
		}
	}
}

// write writes a target if it is still what was seen.
func (m *model) write(object types.NamespacedName, target string, seen *corev1.Secret, saw map[string]string) {
	a := &m.writer
	if now := m.read(target); (now == nil) != (seen == nil) || (now != nil && now.ResourceVersion != seen.ResourceVersion) {
		m.cache.Invalidate(keyOf(target))
		a.queue.keys[object] = true // tried again
		return
	}
	s := &corev1.Secret{}
	ownedBy(object.Name)(s)
	s = m.change(target, s)
	if m.dice.IntN(4) == 0 { // the answer is lost
		a.under[object] = func() { m.cache.Invalidate(keyOf(target)); a.queue.keys[object] = true }
		return
	}
	saw[target] = contentsOf(s)
	a.under[object] = func() { m.cache.Wrote(object, s) }
}

// land lets what is on its way for an object arrive. That may set out something
// else.
func (a *actor) land(object types.NamespacedName) {
	do := a.under[object]
	delete(a.under, object)
	do()
}

// step does something at random.
func (m *model) step() {
	pick := func(from ...string) string { return from[m.dice.IntN(len(from))] }
	object, name := keyOf(pick("a", "b", "c")), pick("x", "y", "z")
	switch m.dice.IntN(14) {
	case 0, 1, 2:
		m.show()
	case 3, 4, 5:
		m.work(&m.writer, object)
	case 6, 7:
		m.work(&m.follower, object)
	case 8, 9: // somebody else
		m.change(name, &corev1.Secret{})
	case 10:
		if m.secrets[name] != nil {
			m.change(name, nil)
		}
	case 11: // another spec
		m.objects[object] = Names{Target: name, Credentials: pick(slices.DeleteFunc([]string{"x", "y", "z"}, func(n string) bool { return n == name })...)}
		m.writer.queue.keys[object], m.follower.queue.keys[object] = true, true
	case 12:
		delete(m.objects, object)
		m.writer.queue.keys[object], m.follower.queue.keys[object] = true, true
	case 13:
		m.mishap()
	}
}

func (m *model) work(a *actor, object types.NamespacedName) {
	if a.under[object] != nil {
		a.land(object)
	} else if a.queue.keys[object] || m.dice.IntN(4) == 0 { // by time
		m.reconcile(a, object)
	}
}

// mishap makes or restores a backup, or cuts the watch.
func (m *model) mishap() {
	switch m.dice.IntN(8) {
	case 0:
		m.backup, m.saved = maps.Clone(m.secrets), m.version
	case 1:
		if len(m.writer.under)+len(m.follower.under) == 0 && m.backup != nil && m.epoch < 15 {
			m.secrets, m.version, m.backup = m.backup, m.saved, nil
			m.epoch++
			m.list, m.cut = nil, true
		}
	case 2, 3:
		if m.list == nil {
			m.cut = true
		}
	}
}

// settle lets everything that is on its way arrive.
func (m *model) settle() {
	for len(m.writer.under)+len(m.follower.under) > 0 || m.cut || m.list != nil || len(m.log) > 0 {
		for _, a := range []*actor{&m.writer, &m.follower} {
			for _, name := range []string{"a", "b", "c"} {
				if a.under[keyOf(name)] != nil {
					a.land(keyOf(name))
				}
			}
		}
		m.show()
	}
}
