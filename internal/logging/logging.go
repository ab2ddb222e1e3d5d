// Package logging has the flags of the programs for their log, and sends there what
// libraries log.
package logging

import (
	"errors"
	"flag"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// Options are the flags.
type Options struct {
	level  slog.Level
	format string
}

// Bind adds the flags.
func (o *Options) Bind(fs *flag.FlagSet) {
	fs.TextVar(&o.level, "log-level", slog.LevelInfo,
		"least level to log: DEBUG, INFO, WARN or ERROR")
	fs.StringVar(&o.format, "log-format", "json",
		"json or text")
}

// Validate says what of them cannot be.
func (o *Options) Validate() error {
	switch {
	case o.level < slog.LevelDebug: // there client-go logs whole requests, Secrets and all
		return errors.New("--log-level must be DEBUG, INFO, WARN or ERROR")
	case o.format != "json" && o.format != "text":
		return fmt.Errorf("--log-format must be json or text, not %q", o.format)
	}
	return nil
}

// Use makes everything log to w, but for what net/http logs, which quotes what others
// send: there may be a token in it.
func (o *Options) Use(w io.Writer) *slog.Logger {
	var handler slog.Handler = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: o.level})
	if o.format == "text" {
		handler = slog.NewTextHandler(w, &slog.HandlerOptions{Level: o.level})
	}
	log := slog.New(handler)
	slog.SetDefault(log)
	stdlog.SetOutput(io.Discard)
	ctrllog.SetLogger(logr.FromSlogHandler(handler))
	klog.SetLogger(logr.FromSlogHandler(handler)) // client-go logs there
	return log
}
