package tokenserver

import (
	"context"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/util/cache"
)

// How long an answer of the API server counts.
const (
	// countsFor is how long without asking again.
	countsFor = 10 * time.Second
	// askAhead is when the API server is asked again about who keeps asking, while the last
	// answer still counts: nobody waits for it.
	askAhead = 5 * time.Second
	// yesCountsFor is how long a yes counts while the API server does not answer. A no does
	// not, and nor does what was never asked.
	yesCountsFor = 5 * time.Minute
	// patience is how long who has had a yes waits for the API server, and how long it is
	// left alone after it did not answer.
	patience = time.Second
	// askedWithin bounds one question.
	askedWithin = 5 * time.Second
)

// remembered bounds how many answers of each sort are held.
const remembered = 10_000

// memory keeps what the API server has answered to one sort of question. Answers of yes
// and no have each their own room, so that made-up credentials push no good one out.
type memory[V any] struct {
	yes, no *cache.LRUExpireCache
	silence *cache.LRUExpireCache // questions that had a yes, and no answer within the last patience
	flights singleflight.Group
}

type yes[V any] struct {
	value V
	at    time.Time // when it was said
}

func newMemory[V any]() *memory[V] {
	room := func() *cache.LRUExpireCache { return cache.NewLRUExpireCache(remembered) }
	return &memory[V]{yes: room(), no: room(), silence: room()}
}

// verdict is an answer to a question.
type verdict[V any] struct {
	value V
	ok    bool
}

// get is the answer to a question: the one that counts, or that of ask, which many who
// have the same question share. known says to ask whether there was a yes lately.
func (m *memory[V]) get(ctx context.Context, question string, ask func(ctx context.Context, known bool) (V, bool, error)) (V, bool, error) {
	var none V
	if _, refused := m.no.Get(question); refused {
		return none, false, nil
	}
	was, known := m.lastYes(question)
	if _, silent := m.silence.Get(question); known && (silent || time.Since(was.at) < askAhead) {
		return was.value, true, nil
	}
	flight := m.flights.DoChan(question, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askedWithin)
		defer cancel()
		value, ok, err := ask(ctx, known)
		m.note(question, known, value, ok, err)
		return verdict[V]{value, ok}, err
	})
	if known {
		value, ok := m.await(question, was, flight)
		return value, ok, nil
	}
	select {
	case landed := <-flight:
		v := landed.Val.(verdict[V]) //nolint:forcetypeassert // as above
		return v.value, v.ok, landed.Err
	case <-ctx.Done():
		return none, false, ctx.Err()
	}
}

// await is the answer where there was a yes: that counts unless the API server says
// something else in time.
func (m *memory[V]) await(question string, was yes[V], flight <-chan singleflight.Result) (V, bool) {
	if time.Since(was.at) < countsFor {
		return was.value, true
	}
	select {
	case landed := <-flight:
		if landed.Err == nil {
			v := landed.Val.(verdict[V]) //nolint:forcetypeassert // as above
			return v.value, v.ok
		}
	case <-time.After(patience):
		m.silence.Add(question, struct{}{}, patience)
	}
	return was.value, true
}

// note notes what the API server has answered, or that it has not.
func (m *memory[V]) note(question string, known bool, value V, ok bool, err error) {
	switch {
	case err != nil && known:
		m.silence.Add(question, struct{}{}, patience)
	case err != nil:
	case ok:
		m.yes.Add(question, yes[V]{value, time.Now()}, yesCountsFor)
		m.no.Remove(question)
	default:
		m.no.Add(question, struct{}{}, countsFor)
		m.yes.Remove(question)
	}
}

func (m *memory[V]) lastYes(question string) (yes[V], bool) {
	if found, ok := m.yes.Get(question); ok {
		return found.(yes[V]), true //nolint:forcetypeassert // nothing else is put there
	}
	return yes[V]{}, false
}
