package controllers

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"wechattoken.io/operator/api/v1alpha1"
)

// secretAt is the Secret "shop" of the namespace "web" at a version, which its
// contents tell.
func secretAt(version string, mods ...func(*corev1.Secret)) *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "shop", ResourceVersion: version},
		Data:       map[string][]byte{"version": []byte(version)},
	}
	for _, mod := range mods {
		mod(s)
	}
	return s
}

func metaOf(s *corev1.Secret) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: s.ObjectMeta}
}

func controlledBy(wt *v1alpha1.WeChatToken) func(*corev1.Secret) {
	return func(s *corev1.Secret) {
		s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(wt, v1alpha1.GroupVersion.WithKind(kind))}
	}
}

func keyOf(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "web", Name: name}
}

// What is held counts as long as nothing later is known.
func TestHeldCountsUntilSomethingLaterIsKnown(t *testing.T) {
	named := func(k *secrets) { k.name(keyOf("wt"), names{target: "shop", appSecret: "app"}) }
	began := func(k *secrets) { k.replace("", nil, "1") }
	listed := func(version string) func(*secrets) {
		return func(k *secrets) { k.replace("", []*metav1.PartialObjectMetadata{metaOf(secretAt(version))}, version) }
	}
	relisted := func(version, at string) func(*secrets) {
		return func(k *secrets) { k.replace("", []*metav1.PartialObjectMetadata{metaOf(secretAt(version))}, at) }
	}
	none := func(at string) func(*secrets) { return func(k *secrets) { k.replace("", nil, at) } }
	shown := func(version string) func(*secrets) { return func(k *secrets) { k.note(metaOf(secretAt(version))) } }
	gone := func(version string) func(*secrets) { return func(k *secrets) { k.gone("", metaOf(secretAt(version))) } }
	read := func(version string) func(*secrets) { return func(k *secrets) { k.remember(secretAt(version)) } }
	wrote := func(version string) func(*secrets) {
		return func(k *secrets) { k.wrote(keyOf("wt"), secretAt(version)) }
	}
	doubt := func(k *secrets) { k.doubt(keyOf("shop")) }

	cases := map[string]struct {
		reason string
		events []func(*secrets)
		want   string // version; empty if none counts
		absent bool
	}{
		"Nothing":           {"nobody has read it", []func(*secrets){named, listed("5")}, "", false},
		"None":              {"the watch would have shown it", []func(*secrets){named, began}, "", true},
		"NotYetTold":        {"the watch has not begun", []func(*secrets){named, read("5")}, "", false},
		"NotNamed":          {"nobody needs it", []func(*secrets){listed("5"), read("5")}, "", false},
		"Read":              {"it is the one that is shown", []func(*secrets){named, listed("5"), read("5")}, "5", false},
		"AheadOfTheWatch":   {"the watch will come to it", []func(*secrets){named, listed("5"), read("6")}, "6", false},
		"Unseen":            {"the watch will come to it", []func(*secrets){named, began, wrote("6")}, "6", false},
		"Changed":           {"a later one is shown", []func(*secrets){named, listed("5"), read("5"), shown("6")}, "", false},
		"CaughtUp":          {"it is the one that is shown at last", []func(*secrets){named, listed("5"), read("7"), shown("6"), shown("7")}, "7", false},
		"LateRead":          {"a later one was read meanwhile", []func(*secrets){named, listed("5"), read("6"), read("5")}, "6", false},
		"LateReadOfChanged": {"a later one was shown meanwhile", []func(*secrets){named, listed("5"), shown("6"), read("5")}, "", false},
		"Gone":              {"it is deleted", []func(*secrets){named, listed("5"), read("5"), gone("6")}, "", true},
		"LateReadOfGone":    {"it was deleted meanwhile", []func(*secrets){named, listed("5"), gone("6"), read("5")}, "", true},
		"OwnGone":           {"it was deleted before the answer came", []func(*secrets){named, began, shown("5"), gone("6"), wrote("5")}, "", true},
		"MadeAnew":          {"another one is there", []func(*secrets){named, listed("5"), read("5"), gone("6"), shown("7")}, "", false},
		"MadeAnewAndRead":   {"the watch has yet to show the end of the one before", []func(*secrets){named, listed("5"), read("7"), gone("6")}, "7", false},
		"MadeAnewAndShown":  {"it is the one that is there", []func(*secrets){named, listed("5"), read("7"), gone("6"), shown("7")}, "7", false},
		"OthersGoOn": {"the watch has come to another Secret after it", []func(*secrets){named, listed("5"), read("5"), func(k *secrets) {
			k.note(metaOf(secretAt("9", func(s *corev1.Secret) { s.Name = "other" })))
		}}, "5", false},
		"Relisted":        {"it has not changed while the watch was cut", []func(*secrets){named, listed("5"), read("5"), relisted("5", "9")}, "5", false},
		"ChangedUnseen":   {"it has changed while the watch was cut", []func(*secrets){named, listed("5"), read("5"), relisted("8", "9")}, "", false},
		"GoneUnseen":      {"it was deleted while the watch was cut", []func(*secrets){named, listed("5"), read("5"), none("9")}, "", false},
		"RestoredBackup":  {"5 is what came before 7", []func(*secrets){named, listed("7"), read("7"), relisted("5", "6")}, "", false},
		"RestoredAndRead": {"7 is forgotten", []func(*secrets){named, listed("7"), read("7"), relisted("5", "6"), read("5")}, "5", false},
		"Doubted":         {"a write has failed", []func(*secrets){named, listed("5"), read("5"), doubt}, "", false},
		"AbsenceDoubted":  {"a write has failed", []func(*secrets){named, began, doubt}, "", false},
		"DoubtEnds":       {"it was read since", []func(*secrets){named, listed("5"), read("5"), doubt, read("5")}, "5", false},
		"Unordered":       {"nothing tells which is the later one", []func(*secrets){named, listed("x"), read("x")}, "", false},
		"Large": {"it is too large to be held, but there", []func(*secrets){named, began, func(k *secrets) {
			k.remember(secretAt("5", func(s *corev1.Secret) { s.Data["large"] = make([]byte, maxHeld) }))
		}}, "", false},
		"OtherRelisted":      {"that watch is of another namespace", []func(*secrets){named, listed("5"), read("7"), func(k *secrets) { k.replace("other", nil, "9") }}, "7", false},
		"RestoredAndWritten": {"the list was of an earlier version", []func(*secrets){named, none("20"), none("6"), wrote("8")}, "8", false},
		"ElsewhereTold":      {"its namespace is not watched: nothing would tell of a change", []func(*secrets){named, func(k *secrets) { k.replace("other", nil, "1") }, read("5")}, "", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var k secrets
			for _, event := range tc.events {
				event(&k)
			}
			got := ""
			if s := k.recall(keyOf("shop")); s != nil {
				got = string(s.Data["version"])
			}
			if got != tc.want {
				t.Errorf("%s: recalled %q, want %q", tc.reason, got, tc.want)
			}
			if got := k.absent(keyOf("shop")); got != tc.absent {
				t.Errorf("%s: absent %t, want %t", tc.reason, got, tc.absent)
			}
		})
	}
}

// Contents are held as long as a WeChatToken names them.
func TestHeldAsLongAsNamed(t *testing.T) {
	var k secrets
	k.replace("", []*metav1.PartialObjectMetadata{metaOf(secretAt("5"))}, "5")
	k.name(keyOf("a"), names{target: "shop", appSecret: "app"})
	k.name(keyOf("b"), names{target: "other", appSecret: "shop"})
	k.remember(secretAt("5"))
	recalled := func(want bool, when string) {
		t.Helper()
		if got := k.recall(keyOf("shop")) != nil; got != want {
			t.Errorf("held %t %s, want %t", got, when, want)
		}
	}
	k.name(keyOf("a"), names{target: "elsewhere", appSecret: "app"})
	recalled(true, "while b names it")
	k.forget(keyOf("b"))
	recalled(false, "when nobody names it")
	k.name(keyOf("a"), names{target: "shop", appSecret: "app"})
	recalled(false, "before it is read again")
	k.remember(secretAt("5"))
	k.name(keyOf("a"), names{target: "shop", appSecret: "app"})
	recalled(true, "when it is named once more")
	k.gone("", metaOf(secretAt("6")))
	if len(k.held[keyOf("shop")].encoded) > 0 {
		t.Error("the contents of a Secret that is gone are kept")
	}
	k.forget(keyOf("a"))
	k.forget(keyOf("a"))
	if len(k.held)+len(k.named) > 0 {
		t.Errorf("left: %v, %v", k.held, k.named)
	}
}

// No more is held of a Secret than is asked for.
func TestHeldWithoutManagedFields(t *testing.T) {
	var k secrets
	k.replace("", nil, "1")
	k.name(keyOf("wt"), names{target: "shop", appSecret: "app"})
	s := secretAt("5", func(s *corev1.Secret) { s.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x"}} })
	k.remember(s)
	if got := k.recall(keyOf("shop")); got == nil || len(got.ManagedFields) > 0 || len(s.ManagedFields) != 1 {
		t.Errorf("held %v; what was read has %d managers, want 1", got, len(s.ManagedFields))
	}
}

// Who owns what follows the watch.
func TestOwnedFollowsTheWatch(t *testing.T) {
	a, b := weChatToken(), weChatToken()
	a.UID, b.UID = "a", "b"
	called := func(name string) func(*corev1.Secret) { return func(s *corev1.Secret) { s.Name = name } }
	cases := map[string]struct {
		reason string
		event  func(*secrets)
		a, b   []string
	}{
		"Begin": {"", func(*secrets) {}, []string{"one", "two"}, nil},
		"Changed": {"it is the same Secret", func(k *secrets) { k.note(metaOf(secretAt("7", called("one"), controlledBy(a)))) },
			[]string{"two", "one"}, nil},
		"Taken": {"", func(k *secrets) { k.note(metaOf(secretAt("7", called("one"), controlledBy(b)))) }, []string{"two"}, []string{"one"}},
		"LetGo": {"", func(k *secrets) { k.note(metaOf(secretAt("7", called("one")))) }, []string{"two"}, nil},
		"Gone":  {"", func(k *secrets) { k.gone("", metaOf(secretAt("7", called("one")))) }, []string{"two"}, nil},
		"Others": {"a Deployment's are not ours", func(k *secrets) {
			k.note(metaOf(secretAt("7", called("one"), func(s *corev1.Secret) {
				s.OwnerReferences = []metav1.OwnerReference{{Kind: "Deployment", UID: "a", Controller: new(true)}}
			})))
		}, []string{"two"}, nil},
		"Relisted":      {"", func(k *secrets) { k.replace("", nil, "9") }, nil, nil},
		"OtherRelisted": {"that watch is of another namespace", func(k *secrets) { k.replace("other", nil, "9") }, []string{"one", "two"}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var k secrets
			k.replace("", []*metav1.PartialObjectMetadata{
				metaOf(secretAt("5", called("one"), controlledBy(a))), metaOf(secretAt("6", called("two"), controlledBy(a))),
			}, "6")
			tc.event(&k)
			if gotA, gotB := k.ownedBy("a"), k.ownedBy("b"); !slices.Equal(gotA, tc.a) || !slices.Equal(gotB, tc.b) {
				t.Errorf("%s: a owns %v and b %v, want %v and %v", tc.reason, gotA, gotB, tc.a, tc.b)
			}
		})
	}
}

// users are WeChatTokens, by their names.
type users struct {
	of map[types.NamespacedName]*v1alpha1.WeChatToken
}

func secretsOf(wt *v1alpha1.WeChatToken) []string {
	return []string{wt.Spec.AppSecretRef.Name, wt.TokenSecretName()}
}

// woken notes what is queued.
type woken struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]

	keys map[types.NamespacedName]bool
}

func (w *woken) Add(r reconcile.Request) { w.keys[r.NamespacedName] = true }

// newWatch is a watch of Secrets in the given namespace, or in all, for these
// WeChatTokens.
func newWatch(namespace string, tokens ...*v1alpha1.WeChatToken) (*secretWatch, *users, *woken) {
	u, q := &users{of: map[types.NamespacedName]*v1alpha1.WeChatToken{}}, &woken{keys: map[types.NamespacedName]bool{}}
	r := &WeChatTokenReconciler{}
	for _, wt := range tokens {
		wt.Namespace = "web"
		key := client.ObjectKeyFromObject(wt)
		u.of[key] = wt
		r.secrets.name(key, names{target: wt.TokenSecretName(), appSecret: wt.Spec.AppSecretRef.Name})
	}
	return &secretWatch{r: r, namespace: namespace, queue: q, synced: make(chan struct{})}, u, q
}

// etcd is an API server's Secrets in memory, with versions, a log of what has
// changed, and WeChatTokens that read and write them while the watch lags.
type etcd struct {
	dice    *rand.Rand
	version uint64
	epoch   uint64 // restores from a backup so far
	there   map[string]*corev1.Secret
	backup  map[string]*corev1.Secret
	saved   uint64 // version of backup
	log     []change

	w     *secretWatch
	users *users
	woken *woken
	cut   bool
	list  func() // a list that is on its way

	under map[types.NamespacedName]func() // what is on its way for a WeChatToken
	saw   map[types.NamespacedName]map[string]string
	made  int
}

// change is an event of the watch.
type change struct {
	secret *corev1.Secret
	gone   bool
}

func (e *etcd) change(name string, s *corev1.Secret) *corev1.Secret {
	e.version += 16 // so that no version is given again after a restore: the last four bits are the epoch
	e.version = e.version&^15 | e.epoch
	gone := s == nil
	if gone {
		s = e.there[name].DeepCopy()
		delete(e.there, name)
	} else {
		e.made++
		s.Namespace, s.Name = "web", name
		s.Data = map[string][]byte{"contents": []byte(strconv.Itoa(e.made))}
		e.there[name] = s
	}
	s.ResourceVersion = strconv.FormatUint(e.version, 10)
	e.log = append(e.log, change{s.DeepCopy(), gone})
	return s.DeepCopy()
}

func contents(s *corev1.Secret) string {
	if s == nil {
		return ""
	}
	return string(s.Data["contents"])
}

func (e *etcd) read(name string) *corev1.Secret {
	if s := e.there[name]; s != nil {
		return s.DeepCopy()
	}
	return nil
}

// tell lets the watch see the next event, or a list if it was cut.
func (e *etcd) tell() {
	switch {
	case e.list != nil:
		e.list()
		e.list = nil
	case e.cut:
		var items []any
		for _, name := range slices.Sorted(maps.Keys(e.there)) {
			items = append(items, metaOf(e.read(name)))
		}
		e.cut, e.log = false, nil
		at := strconv.FormatUint(e.version, 10)
		e.list = func() { _ = e.w.Replace(items, at) }
	case len(e.log) > 0:
		next := e.log[0]
		e.log = e.log[1:]
		if next.gone {
			_ = e.w.Delete(metaOf(next.secret))
		} else {
			_ = e.w.Update(metaOf(next.secret))
		}
	}
}

// reconcile does what a reconcile does: it looks at both Secrets, and may write
// the target. What it reads and writes is on its way for a while.
func (e *etcd) reconcile(key types.NamespacedName) {
	delete(e.woken.keys, key)
	wt := e.users.of[key]
	if wt == nil {
		e.w.r.secrets.forget(key)
		delete(e.saw, key)
		return
	}
	k, target := &e.w.r.secrets, wt.TokenSecretName()
	k.name(key, names{target: target, appSecret: wt.Spec.AppSecretRef.Name})
	saw := map[string]string{}
	e.saw[key] = saw
	var land []func()
	var seen *corev1.Secret
	for _, name := range secretsOf(wt) {
		s := k.recall(keyOf(name))
		if s == nil {
			if s = e.read(name); s != nil {
				land = append(land, func() { k.remember(s) })
			}
		}
		saw[name] = contents(s)
		if name == target {
			seen = s
		}
	}
	if e.dice.IntN(2) == 0 {
		land = append(land, func() { e.write(key, wt, seen, saw) })
	}
	e.under[key] = func() {
		for _, do := range land {
			do()
		}
	}
}

func (e *etcd) write(key types.NamespacedName, wt *v1alpha1.WeChatToken, seen *corev1.Secret, saw map[string]string) {
	k, target := &e.w.r.secrets, wt.TokenSecretName()
	if now := e.read(target); (now == nil) != (seen == nil) || (now != nil && now.ResourceVersion != seen.ResourceVersion) {
		k.doubt(keyOf(target))
		e.woken.keys[key] = true // tried again
		return
	}
	s := &corev1.Secret{}
	controlledBy(wt)(s)
	s = e.change(target, s)
	if e.dice.IntN(4) == 0 { // the answer is lost
		e.under[key] = func() { k.doubt(keyOf(target)); e.woken.keys[key] = true }
		return
	}
	saw[target] = contents(s)
	e.under[key] = func() { k.wrote(key, s) }
}

// land lets what is on its way for key arrive. That may set out something else.
func (e *etcd) land(key types.NamespacedName) {
	do := e.under[key]
	delete(e.under, key)
	do()
}

// step does something at random.
func (e *etcd) step() {
	pick := func(from []string) string { return from[e.dice.IntN(len(from))] }
	secretNames, key := []string{"x", "y", "z"}, keyOf(pick([]string{"a", "b", "c"}))
	name := pick(secretNames)
	switch e.dice.IntN(12) {
	case 0, 1, 2:
		e.tell()
	case 3, 4, 5:
		if e.under[key] != nil {
			e.land(key)
		} else if e.woken.keys[key] || e.dice.IntN(4) == 0 { // by time
			e.reconcile(key)
		}
	case 6, 7: // others
		e.change(name, &corev1.Secret{})
	case 8:
		if e.there[name] != nil {
			e.change(name, nil)
		}
	case 9: // another spec
		e.made++
		wt := weChatToken(func(wt *v1alpha1.WeChatToken) {
			wt.Namespace, wt.Name, wt.UID = "web", key.Name, types.UID("uid-of-"+key.Name)
			wt.Spec.Secret = &v1alpha1.TokenSecret{Name: name}
			wt.Spec.AppSecretRef.Name = pick(slices.DeleteFunc(slices.Clone(secretNames), func(n string) bool { return n == name }))
		})
		e.users.of[key], e.woken.keys[key] = wt, true
	case 10:
		delete(e.users.of, key)
		e.woken.keys[key] = true
	case 11:
		switch e.dice.IntN(8) {
		case 0:
			e.backup, e.saved = maps.Clone(e.there), e.version
		case 1:
			if len(e.under) == 0 && e.backup != nil && e.epoch < 15 {
				e.there, e.version, e.backup = e.backup, e.saved, nil
				e.epoch++
				e.list, e.cut = nil, true
			}
		case 2, 3:
			if e.list == nil {
				e.cut = true
			}
		}
	}
}

// Whatever happens in whatever order: once the watch has caught up, what is held
// is what is there; and a WeChatToken that saw anything else has been woken.
func TestMemoryAgreesWithTheCluster(t *testing.T) {
	for seed := range uint64(3000) {
		namespace := []string{"", "web"}[seed%2]
		w, u, q := newWatch(namespace)
		e := &etcd{
			dice: rand.New(rand.NewPCG(seed, 0)), version: 16, there: map[string]*corev1.Secret{},
			w: w, users: u, woken: q, under: map[types.NamespacedName]func(){}, saw: map[types.NamespacedName]map[string]string{},
		}
		_ = w.Replace(nil, "16")
		for range 150 {
			e.step()
		}
		for len(e.under) > 0 || e.cut || e.list != nil || len(e.log) > 0 {
			for _, key := range slices.SortedFunc(maps.Keys(e.under), func(a, b types.NamespacedName) int { return strings.Compare(a.Name, b.Name) }) {
				e.land(key)
			}
			e.tell()
		}
		if wrong := e.disagreement(); wrong != "" {
			t.Fatalf("seed %d: %s", seed, wrong)
		}
	}
}

// disagreement is what the operator has wrong; empty if nothing.
func (e *etcd) disagreement() string {
	k := &e.w.r.secrets
	owned := map[types.UID][]string{}
	for _, name := range []string{"x", "y", "z"} {
		there, held := e.there[name], k.recall(keyOf(name))
		if held != nil && contents(held) != contents(there) {
			return fmt.Sprintf("of %s %q is held, and %q there", name, contents(held), contents(there))
		}
		if k.absent(keyOf(name)) && there != nil {
			return name + " is taken to be absent"
		}
		if there != nil {
			if owner := metav1.GetControllerOf(there); owner != nil {
				owned[owner.UID] = append(owned[owner.UID], name)
			}
		}
	}
	for key, wt := range e.users.of {
		if got := slices.Sorted(slices.Values(k.ownedBy(wt.UID))); !slices.Equal(got, owned[wt.UID]) {
			return fmt.Sprintf("%s is taken to own %v, and owns %v", key.Name, got, owned[wt.UID])
		}
		for _, name := range secretsOf(wt) {
			if saw := e.saw[key][name]; !e.woken.keys[key] && saw != contents(e.there[name]) {
				return fmt.Sprintf("%s sleeps and has seen %q in %s, where %q is", key.Name, saw, name, contents(e.there[name]))
			}
		}
	}
	for key := range e.saw {
		if e.users.of[key] == nil && e.woken.keys[key] {
			e.reconcile(key)
		}
	}
	if len(k.named) > len(e.users.of) || len(k.held) > 2*len(e.users.of) || len(k.owned) > len(owned) {
		return fmt.Sprintf("left over: %d named, %d held, %d owned", len(k.named), len(k.held), len(k.owned))
	}
	return ""
}
