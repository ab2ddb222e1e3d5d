package wechattest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// faultJSON is a [Fault] with durations as people write them.
type faultJSON struct {
	ID        int       `json:"id,omitempty"`
	AppID     string    `json:"appid,omitempty"`
	Endpoint  Endpoint  `json:"endpoint,omitempty"`
	Kind      FaultKind `json:"kind"`
	Count     int       `json:"count,omitempty"`
	For       duration  `json:"for,omitzero"`
	Code      int       `json:"code,omitempty"`
	Message   string    `json:"message,omitempty"`
	Status    int       `json:"status,omitempty"`
	ExpiresIn int64     `json:"expiresIn,omitempty"`
	Bytes     int       `json:"bytes,omitempty"`
	Delay     duration  `json:"delay,omitzero"`
}

// duration is written as "1m30s".
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(b []byte) error {
	parsed, err := time.ParseDuration(string(b))
	*d = duration(parsed)
	return err
}

func (s *Server) getFaults(*http.Request) (any, error) {
	out := []faultJSON{}
	for _, f := range s.Faults() {
		out = append(out, faultJSON{
			ID: f.ID, AppID: f.AppID, Endpoint: f.Endpoint, Kind: f.Kind,
			Count: f.Count, For: duration(f.For),
			Code: f.Code, Message: f.Message, Status: f.Status, ExpiresIn: f.ExpiresIn, Bytes: f.Bytes,
			Delay: duration(f.Delay),
		})
	}
	return out, nil
}

func (s *Server) postFault(r *http.Request) (any, error) {
	var in faultJSON
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	f := Fault{
		AppID: in.AppID, Endpoint: in.Endpoint, Kind: in.Kind,
		Count: in.Count, For: time.Duration(in.For),
		Code: in.Code, Message: in.Message, Status: in.Status, ExpiresIn: in.ExpiresIn, Bytes: in.Bytes,
		Delay: time.Duration(in.Delay),
	}
	if err := f.Check(); err != nil {
		return nil, err
	}
	return struct {
		ID int `json:"id"`
	}{s.SetFault(f)}, nil
}

func (s *Server) deleteFaults(r *http.Request) (any, error) {
	id := r.URL.Query().Get("id")
	if id == "" {
		s.ClearFaults()
		return nil, nil
	}
	n, err := strconv.Atoi(id)
	if err != nil {
		return nil, fmt.Errorf("id is %q, must be a number", id)
	}
	s.ClearFaults(n)
	return nil, nil
}
