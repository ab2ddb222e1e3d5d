package main

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/internal/wechat"
)

// consumer stands for a pod: it reads the Secret once a second and calls WeChat
// with what it finds. While the Secret is away it goes on with the token it had,
// as a pod with a mounted file does.
type consumer struct {
	cluster client.Client
	weChat  *wechat.Client

	mu sync.Mutex
	seen
}

// seen is what a consumer has seen.
type seen struct {
	token                  string
	tokens, calls, invalid int    // tokens are different ones
	marks                  string // one for each second
}

// now is what it has seen so far.
func (c *consumer) now() seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// consume goes on until ctx ends.
func (c *consumer) consume(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(time.Second)
		c.second(ctx)
	}
}

// second is one second of the consumer's life, as one character: a letter for each
// token, but never X.
func (c *consumer) second(ctx context.Context) {
	var s corev1.Secret
	readErr := c.cluster.Get(ctx, client.ObjectKey{Namespace: "default", Name: "shop-token"}, &s)
	c.mu.Lock()
	defer c.mu.Unlock()
	mark := "."
	if token := string(s.Data["access_token"]); readErr == nil && token != c.token {
		c.token, mark = token, string(rune('A'+c.tokens%23))
		c.tokens++
	}
	valid, err := c.weChat.Valid(ctx, c.token)
	if ctx.Err() != nil {
		return
	}
	c.calls++
	if err != nil || !valid {
		c.invalid++
		mark = "X"
	}
	c.marks += mark
}
