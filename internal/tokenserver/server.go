package tokenserver

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/client-go/rest"
)

// strangerLines is how many lines a second the log has at most of requests whose user is
// not known: anybody can send any number of them.
const strangerLines = 10

// Clients are the ways to what the server follows.
type Clients struct{ WeChatTokens, Secrets rest.Interface }

// Server answers who asks for tokens.
type Server struct {
	held     *held
	follower *follower
	access   *access
	reports  *reports
	log      *slog.Logger

	strangerLines *rate.Limiter
	silence       *rate.Sometimes // of the API server, in the log
	running       context.Context //nolint:containedctx // its end ends the waits of all requests
}

// New returns a server of the WeChatTokens in some namespaces, or in all if there are
// none, until ctx ends. It has its metrics in registry.
func New(ctx context.Context, c Clients, reviews reviewer, namespaces []string, registry prometheus.Registerer, log *slog.Logger) (*Server, error) {
	h := newHeld()
	for _, collector := range collectors(h) {
		if err := registry.Register(collector); err != nil {
			return nil, err
		}
	}
	return &Server{
		held: h, follower: newFollower(c, h, namespaces, log), access: newAccess(reviews), reports: newReports(c.WeChatTokens), log: log,
		strangerLines: rate.NewLimiter(strangerLines, 10*strangerLines),
		silence:       &rate.Sometimes{Interval: 10 * time.Second},
		running:       ctx,
	}, nil
}

// Follow keeps what the server knows up to date.
func (s *Server) Follow() { s.follower.run(s.running) }

// Synced is nil once the server knows all that there is.
func (s *Server) Synced(*http.Request) error { return s.follower.synced() }

// Handler answers requests.
func (s *Server) Handler() http.Handler { return s.routes() }
