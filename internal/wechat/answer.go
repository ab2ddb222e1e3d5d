package wechat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// parse reads the token in an answer. Whether the answer is an error is told by
// errcode alone: WeChat sends errors with status 200, and JSON as text/plain.
func parse(body []byte, status int, creds Credentials) (Token, error) {
	if len(body) > maxBody {
		return Token{}, unusable(status, fmt.Sprintf("the answer is larger than %d KiB", maxBody>>10))
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
		ErrCode     int64  `json:"errcode"`
		ErrMsg      string `json:"errmsg"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		// What is not JSON is not shown: it may echo the request.
		return Token{}, unusable(status, fmt.Sprintf("the answer (HTTP status %d) is not JSON as WeChat writes it", status))
	}
	if answer.ErrCode != 0 {
		return Token{}, answered(answer.ErrCode, Redact(answer.ErrMsg, answer.AccessToken), status, creds)
	}
	if status != http.StatusOK {
		return Token{}, unusable(status, fmt.Sprintf("HTTP status %d", status))
	}
	if !printable(answer.AccessToken) {
		return Token{}, unusable(status, "the answer has no usable access_token")
	}
	if answer.ExpiresIn <= 0 || answer.ExpiresIn > int64(maxLife/time.Second) {
		return Token{}, unusable(status, "the answer has no usable expires_in")
	}
	return Token{Value: answer.AccessToken, Life: time.Duration(answer.ExpiresIn) * time.Second}, nil
}

// unusable is the Error for an answer without an errcode. It may be that of a
// gateway, sent after WeChat has issued a token.
func unusable(status int, message string) *Error {
	return &Error{HTTPStatus: status, Message: message, Lost: true}
}

// printable reports whether s can be a token: not empty, and nothing in it that
// would break an environment variable or an HTTP header.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
