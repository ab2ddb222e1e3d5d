package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the manager has asked is what was added, less what the bench asked.
func TestRequestsOfTheManager(t *testing.T) {
	before := requestsIn(`
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="GET",version="v1"} 3
`)
	after := requestsIn(`
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="GET",version="v1"} 7
apiserver_request_total{code="404",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="GET",version="v1"} 2
apiserver_request_total{code="0",component="apiserver",dry_run="",group="",resource="secrets",scope="cluster",subresource="",verb="WATCH",version="v1"} 1
apiserver_request_total{code="201",component="apiserver",dry_run="",group="wechattoken.io",resource="wechattokens",scope="resource",subresource="",verb="POST",version="v1alpha1"} 2
apiserver_request_total{code="200",component="apiserver",dry_run="",group="wechattoken.io",resource="wechattokens",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 2
apiserver_request_total{code="200",component="apiserver",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="PUT",version="v1"} 9
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="namespaces",scope="cluster",subresource="",verb="LIST",version="v1"} 9
`)
	made := after.less(before, counts{"POST wechattokens": 2, "GET secrets": 1})
	if diff := cmp.Diff(counts{"GET secrets": 5, "PATCH wechattokens/status": 2, "PUT leases": 9}, made); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if got := made.sum(); got != 7 {
		t.Errorf("without leases these are %d, want 7", got)
	}
	if diff := cmp.Diff(counts{"PATCH wechattokens/status": 2}, made.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}
