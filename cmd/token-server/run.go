package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/serving"
	"wechattoken.io/operator/internal/tokenserver"
)

// connections is how many clients may be connected at once. Behind an Ingress or a load
// balancer, all of them have a few addresses.
var connections = serving.Limits{OfOne: 512, OfAll: 1024}

// gcPercent is how much garbage there may be beside what is in use, unless $GOGC says
// otherwise.
const gcPercent = 25

// run works until ctx ends.
func run(ctx context.Context, o options) error {
	log := o.log.Use(os.Stderr)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	cfg, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("find a cluster: set KUBECONFIG or --kubeconfig: %w", err)
	}
	cfg.QPS = -1 // priority and fairness of the API server does what a throttle would do, and knows better
	reviews, c, err := clients(cfg)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	work, ctx := errgroup.WithContext(ctx)
	server, err := tokenserver.New(ctx, c, reviews, o.served(), registry, log)
	if err != nil {
		return err
	}
	certificate, err := o.certificate(log)
	if err != nil {
		return err
	}
	ownCertificate, err := serving.SelfSigned()
	if err != nil {
		return err
	}
	for _, e := range []serving.Endpoint{
		{
			Purpose: "tokens", Flag: "bind-address", Address: o.addr, TLS: certificate, Handler: server.Handler(),
			Limits: connections, AnswerWithin: tokenserver.LongestWait + 15*time.Second,
		},
		{Purpose: "metrics", Flag: "metrics-bind-address", Address: o.metricsAddr, TLS: ownCertificate, Handler: serving.Metrics(reviews, registry, logr.FromSlogHandler(log.Handler()))},
		{Purpose: "health probes", Flag: "health-probe-bind-address", Address: o.healthAddr, Handler: serving.Health(map[string]healthz.Checker{"tokens": server.Synced})},
	} {
		if e.IsOff() {
			continue
		}
		listening, err := e.Listen(ctx)
		if err != nil {
			return err
		}
		work.Go(func() error { return listening.Start(ctx) })
	}
	work.Go(func() error {
		server.Follow()
		return nil
	})
	go giveBackMemory(ctx, server)
	return work.Wait()
}

// giveBackMemory gives back what the first lists took, which is as much as all that is
// held. Go does so by itself, in minutes.
func giveBackMemory(ctx context.Context, server *tokenserver.Server) {
	for server.Synced(nil) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
	debug.FreeOSMemory()
}

// clients are the ways to the API server.
func clients(cfg *rest.Config) (reviews *serving.Reviews, c tokenserver.Clients, err error) {
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, c, err
	}
	if reviews, err = serving.NewReviews(cfg, httpClient); err != nil {
		return nil, c, err
	}
	if c.WeChatTokens, err = serving.ClientFor(cfg, httpClient, v1alpha1.GroupVersion, v1alpha1.AddToScheme); err != nil {
		return nil, c, err
	}
	cfg = rest.CopyConfig(cfg)
	cfg.ContentType = runtime.ContentTypeProtobuf
	c.Secrets, err = serving.ClientFor(cfg, httpClient, corev1.SchemeGroupVersion, corev1.AddToScheme)
	return reviews, c, err
}
