package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/console"
	"wechattoken.io/operator/internal/wechat/wire"
)

type createOptions struct {
	*plugin

	appID         string
	appSecretRef  string
	appSecretFile string
	dryRun        string
	output        string
	wait          bool
	timeout       time.Duration
}

func newCreate(p *plugin) *cobra.Command {
	o := &createOptions{plugin: p}
	cmd := &cobra.Command{
		Use:   "create NAME --appid=APPID",
		Short: "Create a WeChatToken, and the Secret with its AppSecret",
		Long: `Create the WeChatToken NAME, and the Secret NAME-app with its AppSecret. The operator puts the token into the Secret
NAME-token. It asks for the AppSecret, and does not show it; without a terminal it reads stdin. No argument takes the
AppSecret: others could see it there. --appsecret-ref takes a Secret that is there already, with the key appsecret.

It changes nothing that is there already. When WeChat refuses the cluster's address, it says which address to add to
the IP allow-list (IP 白名单).

--dry-run=client prints the manifest of the WeChatToken, and asks nobody for anything.

` + exitCodes,
		Example: `  kubectl wechattoken create shop -n web --appid=wx0123456789abcdef
  kubectl wechattoken create shop -n web --appid=wx0123456789abcdef --appsecret-file=appsecret.txt
  kubectl wechattoken create shop -n web --appid=wx0123456789abcdef --appsecret-ref=shop-app --dry-run=client -o yaml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringVar(&o.appID, "appid", "", "the appid, as the WeChat console shows it")
	cmd.Flags().StringVar(&o.appSecretRef, "appsecret-ref", "", "a Secret that is there already, with the AppSecret under the key appsecret")
	cmd.Flags().StringVar(&o.appSecretFile, "appsecret-file", "", "a file with the AppSecret; - for stdin")
	cmd.Flags().StringVar(&o.dryRun, "dry-run", "none", "none, or client: print the manifest of the WeChatToken instead")
	cmd.Flags().StringVarP(&o.output, "output", "o", "yaml", "yaml, the only form of --dry-run=client")
	cmd.Flags().BoolVar(&o.wait, "wait", true, "wait until the Secret holds a token")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait")
	cmd.MarkFlagsMutuallyExclusive("appsecret-ref", "appsecret-file")
	if err := cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]cobra.Completion{"none", "client"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag
	}
	return cmd
}

// appIDForm is the rule of the CRD.
var appIDForm = regexp.MustCompile(`^wx[0-9a-f]{16}$`)

// check says what of the command line cannot be.
func (o *createOptions) check() error {
	switch {
	case o.appID == "":
		return exitf(exitUsage, "--appid is missing: the appid that %s shows, such as --appid=wx0123456789abcdef", console.Keys)
	case !appIDForm.MatchString(o.appID):
		return exitf(exitUsage, "--appid must be wx followed by 16 lower-case hex digits, as %s shows it, not %q", console.Keys, o.appID)
	case !slices.Contains([]string{"none", "client"}, o.dryRun):
		return exitf(exitUsage, "--dry-run must be none or client, not %q", o.dryRun)
	case o.output != "yaml":
		return exitf(exitUsage, "--output must be yaml, not %q", o.output)
	}
	return checkTimeout(o.timeout)
}

func (o *createOptions) run(ctx context.Context, name string) error {
	if err := o.check(); err != nil {
		return err
	}
	wt := o.weChatToken(name)
	if o.dryRun == "client" {
		wt.Namespace = *o.flags.Namespace
		return printAs(o.Out, "yaml", wt)
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	wt.Namespace = c.namespace
	app := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: wt.Spec.AppSecretRef.Name}}
	if err := o.mayCreate(ctx, c, wt, app); err != nil {
		return err
	}
	if o.appSecretRef == "" {
		if err := o.createSecret(ctx, c, app, wt); err != nil {
			return err
		}
	}
	if err := c.Create(ctx, wt); err != nil {
		return exitf(exitCluster, "%v. Secret %s is there, and can be used: try again with --appsecret-ref=%[2]s", explain(err), app.Name)
	}
	fmt.Fprintf(o.Out, "%[1]s: WeChatToken %[2]s/%[1]s is created. It takes the AppSecret from Secret %[3]s.\n", wt.Name, wt.Namespace, app.Name)
	if !o.wait {
		fmt.Fprintf(o.Out, "%s: whether the token is there: kubectl wechattoken status %[1]s -n %s\n", wt.Name, wt.Namespace)
		return nil
	}
	if err := o.awaitReady(ctx, c, wt, o.timeout); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "%s: mount Secret %s as a directory; the file access_token in it always has a valid token.\n", wt.Name, wt.TokenSecretName())
	return nil
}

// weChatToken is what is created.
func (o *createOptions) weChatToken(name string) *v1alpha1.WeChatToken {
	app := o.appSecretRef
	if app == "" {
		app = name + "-app"
	}
	wt := &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.WeChatTokenSpec{
		AppID: o.appID, AppSecretRef: v1alpha1.AppSecretReference{Name: app}, Secret: &v1alpha1.TokenSecret{Name: name + "-token"},
	}}
	wt.SetGroupVersionKind(kindOf)
	return wt
}

// mayCreate asks the API server about all of it before anything is written.
func (o *createOptions) mayCreate(ctx context.Context, c *cluster, wt *v1alpha1.WeChatToken, app *corev1.Secret) error {
	err := c.Create(ctx, wt.DeepCopy(), client.DryRunAll)
	if apierrors.IsAlreadyExists(err) {
		return exitf(exitNo, "WeChatToken %s/%s is there already, and nothing was changed. Choose another name, or see how that one is: kubectl wechattoken status %[2]s -n %[1]s", wt.Namespace, wt.Name)
	}
	if err != nil {
		return explain(err)
	}
	// Without permission to see the Secrets, the operator says later what is wrong with them.
	if _, err := c.secretMeta(ctx, wt.Namespace, wt.TokenSecretName()); err == nil {
		return exitf(exitNo, "Secret %s is there already, and the operator would not overwrite it. Nothing was created. Choose another name, or delete that Secret if nobody needs it", wt.TokenSecretName())
	}
	if o.appSecretRef != "" {
		if _, err := c.secretMeta(ctx, wt.Namespace, app.Name); apierrors.IsNotFound(err) {
			return exitf(exitNo, "There is no Secret %s in namespace %s. Without --appsecret-ref this command creates one, and asks for the AppSecret", app.Name, wt.Namespace)
		}
		return nil
	}
	err = c.Create(ctx, app.DeepCopy(), client.DryRunAll)
	if apierrors.IsAlreadyExists(err) {
		return exitf(exitNo, "Secret %s is there already, and nothing was changed. To use it: --appsecret-ref=%[1]s", app.Name)
	}
	return explain(err)
}

// createSecret creates the Secret with the AppSecret that a person gives.
func (o *createOptions) createSecret(ctx context.Context, c *cluster, app *corev1.Secret, wt *v1alpha1.WeChatToken) error {
	stored, err := o.readAppSecret(ctx)
	if err != nil {
		return err
	}
	secret, odd := wire.ReadAppSecret(stored)
	switch {
	case odd != "":
		return exitf(exitUsage, "That is no AppSecret: %s. Nothing was created. The AppSecret is at %s", odd, console.Keys)
	case secret == "":
		return exitf(exitUsage, "There was no AppSecret. Nothing was created. The AppSecret is at %s", console.Keys)
	}
	app.Data = map[string][]byte{wt.Spec.AppSecretRef.KeyOrDefault(): []byte(secret)}
	return explain(c.Create(ctx, app))
}

// mostAppSecret bounds what is read in search of 32 characters.
const mostAppSecret = 4096

func (o *createOptions) readAppSecret(ctx context.Context) ([]byte, error) {
	if o.appSecretFile != "" && o.appSecretFile != "-" {
		f, err := os.Open(o.appSecretFile)
		if err != nil {
			return nil, exitf(exitUsage, "--appsecret-file: %v", err)
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, mostAppSecret))
	}
	in, is := o.terminal()
	if !is {
		return io.ReadAll(io.LimitReader(o.In, mostAppSecret))
	}
	fmt.Fprintf(o.ErrOut, "AppSecret of %s (it is not shown): ", o.appID)
	line, err := readHidden(ctx, in)
	fmt.Fprintln(o.ErrOut)
	return []byte(strings.TrimSpace(string(line))), err
}
