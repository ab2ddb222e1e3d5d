package testcluster

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// resourcePath has the resource, and of a single object the name and the
// subresource. A namespace before them is no part of these.
var resourcePath = regexp.MustCompile(`^/(?:api|apis/[^/]+)/[^/]+(?:/namespaces/[^/]+)?/([^/]+)(/[^/]+)?(/[^/]+)?`)

// RequestOf is what a request is for, in the words in which the API server's
// metric apiserver_request_total counts it: "GET secrets", "LIST secrets", "APPLY
// secrets" or "PATCH wechattokens/status". It is empty for one that is for no
// resource, such as for discovery.
func RequestOf(r *http.Request) string {
	path := resourcePath.FindStringSubmatch(r.URL.Path)
	if path == nil {
		return ""
	}
	verb, named := r.Method, path[2] != ""
	switch {
	case verb == http.MethodGet && r.URL.Query().Has("watch"):
		verb = "WATCH"
	case verb == http.MethodGet && !named:
		verb = "LIST"
	case verb == http.MethodDelete && !named:
		verb = "DELETECOLLECTION"
	case verb == http.MethodPatch && strings.HasPrefix(r.Header.Get("Content-Type"), "application/apply-patch"):
		verb = "APPLY"
	}
	return verb + " " + path[1] + path[3]
}

// sample is a line of metrics with labels.
var (
	sample = regexp.MustCompile(`(?m)^(\w+)\{(.*)\} (\S+)$`)
	label  = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

// RequestsIn reads the requests for resources that an API server has had, failed
// ones too, from its metrics. They have the names of [RequestOf].
func RequestsIn(metrics string) map[string]int {
	all := map[string]int{}
	for _, line := range sample.FindAllStringSubmatch(metrics, -1) {
		if line[1] != "apiserver_request_total" {
			continue
		}
		labels := map[string]string{}
		for _, l := range label.FindAllStringSubmatch(line[2], -1) {
			labels[l[1]] = l[2]
		}
		count, err := strconv.ParseFloat(line[3], 64)
		if err != nil || labels["resource"] == "" {
			continue
		}
		what := labels["verb"] + " " + labels["resource"]
		if sub := labels["subresource"]; sub != "" {
			what += "/" + sub
		}
		all[what] += int(count)
	}
	return all
}
