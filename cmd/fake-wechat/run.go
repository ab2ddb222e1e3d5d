package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// grace is how long calls may take to end once the program is told to stop;
// those that hang by order would never.
const grace = 2 * time.Second

// run serves until ctx ends.
func run(ctx context.Context, o options) error {
	log := slog.New(slog.NewTextHandler(o.stderr, nil))
	if !o.quiet {
		o.config.Observe = func(c wechattest.Call) { logCall(log, c) }
	}
	fake := wechattest.New(o.config)
	for appID, secret := range o.accounts {
		fake.AddAccount(appID, secret)
	}

	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}

	server := &http.Server{
		Handler:           fake,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	scheme, serve := "http", server.Serve
	if o.tls != nil {
		server.TLSConfig = &tls.Config{Certificates: o.tls}
		scheme, serve = "https", func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	if _, err := fmt.Fprintf(o.stdout, "listening on %s://%s\n", scheme, listener.Addr()); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}

	// The context that ended can not bound the end.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(end); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}

// logCall writes one line. A [wechattest.Call] holds no secret and no token.
func logCall(log *slog.Logger, c wechattest.Call) {
	attrs := []slog.Attr{
		slog.String("endpoint", string(c.Endpoint)),
		slog.String("appid", c.AppID),
		slog.String("from", c.From.String()),
		slog.Int("status", c.Status),
		slog.Int("errcode", c.Errcode),
	}
	if c.Ticket != "" {
		attrs = append(attrs, slog.String("ticket", string(c.Ticket)))
	}
	if c.Forced {
		attrs = append(attrs, slog.Bool("forced", true))
	}
	if c.Rotated {
		attrs = append(attrs, slog.Bool("rotated", true))
	}
	if c.InvalidToken {
		attrs = append(attrs, slog.Bool("invalidToken", true))
	}
	if c.Fault != "" {
		attrs = append(attrs, slog.String("fault", string(c.Fault)))
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "call", attrs...)
}
