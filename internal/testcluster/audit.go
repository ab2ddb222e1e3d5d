package testcluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// auditPolicy logs who asked for what and why it was allowed, of pods alone. No
// body of a request or an answer is logged, and so no Secret.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    userGroups: ["system:serviceaccounts"]
`

// StartAudited is [Start] with an audit log of what ServiceAccounts ask for.
// [Cluster.Audited] reads it.
func StartAudited() (*Cluster, error) {
	return start(func(c *Cluster) error {
		policy := filepath.Join(c.dir, "audit-policy.yaml")
		c.env.ControlPlane.GetAPIServer().Configure().
			Set("audit-policy-file", policy).
			Set("audit-log-path", c.auditLog()).
			Set("audit-log-mode", "blocking-strict") // what is not there was not asked for
		return os.WriteFile(policy, []byte(auditPolicy), 0o600)
	})
}

func (c *Cluster) auditLog() string { return filepath.Join(c.dir, "audit.log") }

// An Audit is what the API server has logged of a request: who asked for what,
// and what it decided, by which role.
type Audit struct {
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	// ObjectRef is nil where the request is for no resource.
	ObjectRef *struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	// Annotations have the decision, and its reason.
	Annotations map[string]string `json:"annotations"`
}

// Audited returns all requests of ServiceAccounts so far that have been answered,
// in the order of the answers. One that is answered for long, a watch, comes
// twice: with the beginning of the answer, and with its end.
func (c *Cluster) Audited() ([]Audit, error) {
	text, err := os.ReadFile(c.auditLog())
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("there is no audit log: begin with StartAudited")
	}
	if err != nil {
		return nil, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // what follows is still being written
	var all []Audit
	for line := range bytes.Lines(text) {
		var a Audit
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		all = append(all, a)
	}
	return all, nil
}
