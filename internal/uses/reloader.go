package uses

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"wechattoken.io/operator/api/v1alpha1"
)

// The annotations that Stakater's Reloader reads, as of v1.4
// (https://docs.stakater.com/reloader/1.4/reference/annotations.html and
// ShouldReload in its pkg/common/common.go). Its flags can rename them, and make
// it restart whatever has none (--auto-reload-all): that cannot be seen here.
const (
	reloaderAuto       = "reloader.stakater.com/auto"
	reloaderSecretAuto = "secret.reloader.stakater.com/auto"
	reloaderReload     = "secret.reloader.stakater.com/reload" // names of Secrets, with commas between; regular expressions
	reloaderSearch     = "reloader.stakater.com/search"        // for Secrets with reloaderMatch
	reloaderExclude    = "secrets.exclude.reloader.stakater.com/reload"
	reloaderMatch      = "reloader.stakater.com/match"  // on the Secret
	reloaderIgnore     = "reloader.stakater.com/ignore" // on the Secret
)

// ReloaderAnnotations keeps those annotations of a workload or a pod template
// that Reloader reads. The result is never nil.
func ReloaderAnnotations(annotations map[string]string) map[string]string {
	kept := map[string]string{}
	for _, k := range []string{reloaderAuto, reloaderSecretAuto, reloaderReload, reloaderSearch, reloaderExclude} {
		if v, ok := annotations[k]; ok {
			kept[k] = v
		}
	}
	return kept
}

// SecretAnnotations returns the annotations that the Secret of wt has after its
// next write: spec.secret.annotations over those that are stored.
func SecretAnnotations(wt *v1alpha1.WeChatToken, stored map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, stored)
	if s := wt.Spec.Secret; s != nil {
		for k, v := range s.Annotations {
			all[k] = string(v)
		}
	}
	return all
}

// Reloaded reports whether Reloader restarts a workload when the Secret called
// name changes. workload and template are the annotations of the workload and of
// its pod template, secret those of the Secret; used says whether the pods use it.
func Reloaded(name string, workload, template, secret map[string]string, used bool) bool {
	if secret[reloaderIgnore] == "true" || listed(workload[reloaderExclude], name, false) {
		return false
	}
	// Those of the pod template count where the workload itself has none.
	a := workload
	if !slices.ContainsFunc([]string{reloaderAuto, reloaderSecretAuto, reloaderReload, reloaderSearch}, func(k string) bool { _, ok := a[k]; return ok }) {
		a = template
	}
	if listed(a[reloaderReload], name, true) {
		return true
	}
	if !used {
		return false
	}
	if a[reloaderSearch] == "true" && secret[reloaderMatch] == "true" {
		return true
	}
	isTrue := func(v string) bool { b, err := strconv.ParseBool(v); return err == nil && b }
	return isTrue(a[reloaderAuto]) || isTrue(a[reloaderSecretAuto])
}

// listed reports whether a list with commas between its elements has name.
func listed(list, name string, patterns bool) bool {
	for element := range strings.SplitSeq(list, ",") {
		element = strings.TrimSpace(element)
		if element == name {
			return true
		}
		if !patterns || element == "" {
			continue
		}
		if re, err := regexp.Compile("^" + element + "$"); err == nil && re.MatchString(name) {
			return true
		}
	}
	return false
}
