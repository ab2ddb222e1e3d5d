package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// consumer stands for a pod: it reads the Secret once a second and calls WeChat
// with what it finds. While the Secret is away it goes on with the token it had,
// as a pod with a mounted file does.
type consumer struct {
	clients *kubernetes.Clientset
	secret  string
	url     string
	drawn   func(mark string) // is told of every second

	cancel context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex
	marks  strings.Builder // one for each second so far
	token  string
	tokens int // different ones so far
	calls  int
	dead   int
}

// tally is what a consumer has seen.
type tally struct {
	tokens, calls, dead int
	marks               string
}

func (c *consumer) start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(ctx)
	c.ended = make(chan struct{})
	go func() {
		defer close(c.ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				c.second(ctx)
			}
		}
	}()
}

func (c *consumer) stop() {
	c.cancel()
	<-c.ended
}

func (c *consumer) seen() tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tally{c.tokens, c.calls, c.dead, c.marks.String()}
}

// draw makes f be told of the seconds to come; nil ends that.
func (c *consumer) draw(f func(string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drawn = f
}

// second is one second of the consumer's life, as one character.
func (c *consumer) second(ctx context.Context) {
	s, err := c.clients.CoreV1().Secrets(metav1.NamespaceDefault).Get(ctx, c.secret, metav1.GetOptions{})
	c.mu.Lock()
	defer c.mu.Unlock()
	mark := "."
	if err == nil {
		if token := string(s.Data["access_token"]); token != c.token {
			c.token = token
			mark = name(c.tokens)
			c.tokens++
		}
	}
	valid, err := c.use(ctx)
	if ctx.Err() != nil {
		return
	}
	c.calls++
	if err != nil || !valid {
		c.dead++
		mark = "X"
	}
	c.marks.WriteString(mark)
	if c.drawn != nil {
		c.drawn(mark)
	}
}

// name is a letter for each token.
func name(i int) string { return string(rune('A' + i%23)) } // never X

// use calls WeChat with the token.
func (c *consumer) use(ctx context.Context) (valid bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/cgi-bin/get_api_domain_ip?access_token="+c.token, nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, fmt.Errorf("call WeChat: %w", err)
	}
	defer resp.Body.Close()
	var answer struct {
		Errcode int `json:"errcode"`
	}
	return answer.Errcode == 0, json.NewDecoder(resp.Body).Decode(&answer)
}
