package main

import (
	"context"
	"fmt"
	"strings"
)

// down removes what up has made. The CRD goes unless somebody else has WeChatTokens by now,
// for they would go with it.
func (t *trial) down(ctx context.Context) error {
	if _, err := t.find(ctx); err != nil {
		return err
	}
	there, ours, err := t.isOurs(ctx, "namespace", namespace)
	switch {
	case err != nil:
		return err
	case there && !ours:
		return fmt.Errorf("the namespace %s is not of a trial, so nothing was removed", namespace)
	case there:
		t.sayf("deleting the namespace %s with all that is in it.", namespace)
		if _, err := t.kubectl(ctx, "delete", "namespace", namespace, "--timeout=3m"); err != nil {
			return err
		}
	}
	if there, ours, err = t.isOurs(ctx, "customresourcedefinition", crd); err != nil || !there {
		return err
	}
	if !ours {
		t.sayf("the CRD stays: it is not of a trial.")
		return nil
	}
	others, err := t.kubectl(ctx, "get", "wechattokens", "--all-namespaces", "--output=name")
	if err != nil {
		return err
	}
	if others = strings.TrimSpace(others); others != "" {
		t.sayf("the CRD stays: without it, these would go too:\n%s", others)
		return nil
	}
	t.sayf("deleting the CRD. Only the image stays on the nodes, until the kubelet needs the room.")
	_, err = t.kubectl(ctx, "delete", "customresourcedefinition", crd)
	return err
}
