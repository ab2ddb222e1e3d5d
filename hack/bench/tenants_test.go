package main

import (
	"io"
	"net"
	"regexp"
	"testing"
)

// The operator refuses an AppSecret of another form without a call to WeChat.
func TestAppSecretsHaveTheFormOfWeChats(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{32}$`)
	for name, secret := range map[string]string{"fleet": fleet(2)[1].appSecret(), "hostile": hostile.appSecret(), "wrong": wrongAppSecret()} {
		if !form.MatchString(secret) {
			t.Errorf("the AppSecret of %s is %q", name, secret)
		}
	}
}

func TestReadsEach(t *testing.T) {
	for reads, want := range map[int]float64{0: 0, 10: 0, 30: 2} {
		if got := readsEach(reads, 10); got != want {
			t.Errorf("%d reads for 10 are %g each, want %g", reads, got, want)
		}
	}
}

func TestNumberTellsThatNobodyWaitedLonger(t *testing.T) {
	for want, n := range map[string]number{
		">= 60 s": {Value: 60, Unit: "s", Ended: true},
		"1,300":   {Value: 1300},
	} {
		if got := n.String(); got != want {
			t.Errorf("%+v is written %q, want %q", n, got, want)
		}
	}
}

// Silent connections come from several addresses, stay open, and say nothing.
func TestSilence(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const n = 3 * silentSources
	let, end, err := silence(t.Context(), n, l.Addr().String(), false, &progress{})
	if err != nil || let != n {
		t.Fatalf("%d of %d connections were let in, %v", let, n, err)
	}
	from := map[string]int{}
	var open []net.Conn
	for range n {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		from[host]++
		open = append(open, conn)
	}
	if len(from) != silentSources {
		t.Errorf("they come from %d addresses, want %d", len(from), silentSources)
	}
	end()
	for _, conn := range open {
		if said, err := io.ReadAll(conn); len(said) > 0 || err != nil {
			t.Errorf("a connection says %q, %v", said, err)
		}
	}
}
