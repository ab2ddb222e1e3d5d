package wechat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"wechattoken.io/operator/internal/wechat/wire"
)

// maxErrCode bounds an errcode: WeChat's have up to 7 digits. A longer number may be
// anything, a part of a secret for instance.
const maxErrCode = 9_999_999

// outcome is what any answer may hold. Only errcode decides whether the answer is
// an error: WeChat sends errors with status 200, and JSON as text/plain.
type outcome struct {
	ErrCode integer `json:"errcode"`
	ErrMsg  string  `json:"errmsg"`
}

// integer is a number that a gateway may have made a string: what is plainly there is
// taken.
type integer int64

// UnmarshalJSON reads it. null leaves it as it is.
func (i *integer) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	var n json.Number // takes a number, and a string that holds one
	if err := json.Unmarshal(text, &n); err != nil {
		return err
	}
	value, err := n.Int64()
	*i = integer(value)
	return err
}

// failed is the Error that the outcome reports; nil if it is none. It does not
// show the secrets.
func (o outcome) failed(status int, secrets ...string) *Error {
	switch {
	case o.ErrCode < -maxErrCode || o.ErrCode > maxErrCode:
		return unusable(status, "the answer has no usable errcode")
	case o.ErrCode != 0:
		return answered(int64(o.ErrCode), o.ErrMsg, status, secrets...)
	case status != http.StatusOK:
		return unusable(status, fmt.Sprintf("HTTP status %d", status))
	default:
		return nil
	}
}

// decode reads an answer into a struct.
func decode(body []byte, status int, into any) *Error {
	if len(body) > wire.MaxBody {
		return unusable(status, fmt.Sprintf("the answer is larger than %d KiB", wire.MaxBody>>10))
	}
	body = bytes.TrimPrefix(body, []byte("\ufeff")) // some gateways put a byte-order mark before it
	if err := json.Unmarshal(body, into); err != nil {
		// What is not JSON is not shown: it may echo the request.
		return unusable(status, fmt.Sprintf("the answer (HTTP status %d) is not JSON as WeChat writes it", status))
	}
	return nil
}

// parse reads the token in an answer.
func parse(body []byte, status int, creds Credentials) (Token, error) {
	var answer struct {
		outcome
		AccessToken string  `json:"access_token"`
		ExpiresIn   integer `json:"expires_in"`
	}
	if err := decode(body, status, &answer); err != nil {
		return Token{}, err
	}
	if err := answer.failed(status, creds.AppSecret, answer.AccessToken); err != nil {
		return Token{}, err
	}
	if !wire.Usable(answer.AccessToken) {
		return Token{}, unusable(status, "the answer has no usable access_token")
	}
	life, err := lifeOf(answer.ExpiresIn, status)
	if err != nil {
		return Token{}, err
	}
	return Token{Value: answer.AccessToken, Life: life}, nil
}

// lifeOf is an expires_in.
func lifeOf(seconds integer, status int) (time.Duration, *Error) {
	if seconds <= 0 || seconds > integer(wire.MaxLife/time.Second) {
		return 0, unusable(status, "the answer has no usable expires_in")
	}
	return time.Duration(seconds) * time.Second, nil
}

// parseTicket reads the ticket in an answer to a call with token.
func parseTicket(body []byte, status int, token string) (Ticket, error) {
	var answer struct {
		outcome
		Ticket    string  `json:"ticket"`
		ExpiresIn integer `json:"expires_in"`
	}
	if err := decode(body, status, &answer); err != nil {
		return Ticket{}, err
	}
	if err := answer.failed(status, token, answer.Ticket); err != nil {
		return Ticket{}, err
	}
	if !wire.Usable(answer.Ticket) {
		return Ticket{}, unusable(status, "the answer has no usable ticket")
	}
	life, err := lifeOf(answer.ExpiresIn, status)
	if err != nil {
		return Ticket{}, err
	}
	return Ticket{Value: answer.Ticket, Life: life}, nil
}

// parseValid reads from an answer of getApiDomainIp whether the token of the
// call is valid.
func parseValid(body []byte, status int, token string) (bool, error) {
	var answer struct {
		outcome
		IPList []string `json:"ip_list"`
	}
	if err := decode(body, status, &answer); err != nil {
		return false, err
	}
	if meaning(int64(answer.ErrCode)).InvalidToken {
		return false, nil
	}
	if err := answer.failed(status, token); err != nil {
		return false, err
	}
	// Any gateway may answer {} with status 200.
	if len(answer.IPList) == 0 {
		return false, unusable(status, "the answer has no ip_list")
	}
	return true, nil
}

// unusable is the Error for an answer without an errcode. It may be that of a
// gateway, sent after WeChat has issued a token.
func unusable(status int, message string) *Error {
	return &Error{HTTPStatus: status, Message: message, Lost: true}
}
