package main

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wechattoken.io/operator/internal/serving"
)

// readAgain is how old a certificate may be before its files are read again, for the next
// client that connects.
const readAgain = 10 * time.Second

// certificate is that of the files, as they are at each time, or a self-signed one.
func (o *options) certificate(log *slog.Logger) (*tls.Config, error) {
	if o.certFile == "" {
		own, err := serving.SelfSigned()
		if err == nil {
			log.Warn("No --tls-cert-file: the server has signed a certificate itself. Who asks cannot tell this server from another one that catches their credential. Only to try it",
				"sha256", fmt.Sprintf("%x", sha256.Sum256(own.Certificates[0].Certificate[0])))
		}
		return own, err
	}
	f := &files{options: o, log: log}
	if err := f.read(); err != nil {
		return nil, err
	}
	return &tls.Config{GetCertificate: f.get, MinVersion: tls.VersionTLS12}, nil
}

// files are a certificate and its key, which somebody replaces before they expire. The
// watcher of controller-runtime does the same, and brings all types of Kubernetes: 8 MB.
type files struct {
	*options

	log *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate
	readAt time.Time
}

// get is the certificate. Files that are half replaced are read again.
func (f *files) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.readAt) > readAgain {
		if err := f.read(); err != nil {
			f.log.Error("The certificate stays as it was", "error", err)
		}
	}
	return f.pair, nil
}

func (f *files) read() error {
	f.readAt = time.Now()
	pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return fmt.Errorf("read --tls-cert-file and --tls-private-key-file: %w", err)
	}
	f.pair = &pair
	return nil
}
