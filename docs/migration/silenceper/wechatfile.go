// Package wechatfile makes github.com/silenceper/wechat/v2 read the access_token
// and the jsapi_ticket from the files that Kubernetes mounts, and never fetch
// them.
package wechatfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Token is the folder where the Secret of a WeChatToken is mounted. Its value
// goes to SetAccessTokenHandle of an OfficialAccount or a MiniProgram.
type Token string

// GetAccessToken reads the file, each time: it changes while the program runs.
func (folder Token) GetAccessToken() (string, error) {
	return read(string(folder), "access_token")
}

// Ticket is that folder, too, where spec.tickets has JSAPI. Its value goes to
// SetJsTicketHandle of officialaccount/js.
type Ticket string

// GetTicket reads the file, each time. The access_token is not needed.
func (folder Ticket) GetTicket(string) (string, error) {
	return read(string(folder), "jsapi_ticket")
}

func read(folder, key string) (string, error) {
	value, err := os.ReadFile(filepath.Join(folder, key))
	if err != nil {
		return "", err
	}
	if len(value) == 0 {
		return "", fmt.Errorf("%s in %s is empty", key, folder)
	}
	return strings.TrimSpace(string(value)), nil
}
