package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
)

// completionTime bounds how long somebody waits for a completion.
const completionTime = 5 * time.Second

// completeNames completes the names of WeChatTokens, up to so many arguments.
func (p *plugin) completeNames(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var list metav1.PartialObjectMetadataList
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WeChatTokenList"))
		return p.complete(cmd.Context(), &list, true, args, prefix)
	}
}

func (p *plugin) completeNamespaces(cmd *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	return p.complete(cmd.Context(), &list, false, nil, prefix)
}

func (p *plugin) complete(ctx context.Context, list *metav1.PartialObjectMetadataList, namespaced bool, without []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := p.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	var opts []client.ListOption
	if namespaced {
		opts = append(opts, client.InNamespace(c.namespace))
	}
	if err := c.List(ctx, list, opts...); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	given := map[string]bool{}
	for _, name := range without {
		given[name] = true
	}
	var names []cobra.Completion
	for i := range list.Items {
		if name := list.Items[i].Name; strings.HasPrefix(name, prefix) && !given[name] {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
