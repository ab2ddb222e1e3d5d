package controllers

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The annotations by which Stakater's Reloader is told what to restart, as of
// v1.4 (https://docs.stakater.com/reloader/1.4/reference/annotations.html and
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

var reloaderAnnotations = []string{reloaderAuto, reloaderSecretAuto, reloaderReload, reloaderSearch, reloaderExclude}

func reloaders(annotations map[string]string) map[string]string {
	kept := map[string]string{}
	for _, k := range reloaderAnnotations {
		if v, ok := annotations[k]; ok {
			kept[k] = v
		}
	}
	return kept
}

// reloaded reports whether Reloader restarts the workload when the Secret
// changes. onSecret are the annotations of the Secret.
func (w *workload) reloaded(secret string, onSecret map[string]string) bool {
	if onSecret[reloaderIgnore] == "true" || listed(w.annotations[reloaderExclude], secret, false) {
		return false
	}
	// Those of the pod template count where the workload itself has none.
	a := w.annotations
	if !slices.ContainsFunc([]string{reloaderAuto, reloaderSecretAuto, reloaderReload, reloaderSearch}, func(k string) bool { _, ok := a[k]; return ok }) {
		a = w.inTemplate
	}
	if listed(a[reloaderReload], secret, true) {
		return true
	}
	if len(w.uses[secret]) == 0 {
		return false
	}
	if a[reloaderSearch] == "true" && onSecret[reloaderMatch] == "true" {
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
