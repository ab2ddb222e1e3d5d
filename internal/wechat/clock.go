package wechat

import (
	"bytes"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// requestID is what follows an errmsg. Its first part is the Unix time (observed,
// undocumented).
var requestID = regexp.MustCompile(`\brid: ?([0-9a-f]{8})-[0-9a-f]{8}-[0-9a-f]{8}`)

// maxApart is how far the clocks of two machines of WeChat may be apart.
const maxApart = time.Minute

// clock is the time of day by which WeChat has answered, in whole seconds; zero if
// the answer does not say. The request id comes from the machine that handled
// the call, and the header Date from one in front of it. An id that is far from
// the header is none with a time in it.
func clock(header http.Header, body []byte) time.Time {
	date, _ := http.ParseTime(header.Get("Date")) // zero if it is none
	if !bytes.Contains(body, []byte("rid:")) {
		return date // most have none, and the expression costs more
	}
	m := requestID.FindSubmatch(body)
	if m == nil {
		return date
	}
	seconds, _ := strconv.ParseInt(string(m[1]), 16, 64) // it has 8 hex digits
	at := time.Unix(seconds, 0)
	if !date.IsZero() && at.Sub(date).Abs() > maxApart {
		return date
	}
	return at
}

// skew is how far our clock is ahead of one that showed at, in whole seconds,
// somewhere between sent and answered. It is accurate to half of that time and half
// a second.
func skew(sent, answered, at time.Time) time.Duration {
	middle := sent.Add(answered.Sub(sent) / 2)
	return middle.Sub(at.Add(time.Second / 2))
}
