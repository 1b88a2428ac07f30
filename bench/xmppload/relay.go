package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func cmdRelay(args []string) error {
	fs, t, c := newFlags("relay")
	m := fs.Int("m", 20000, "messages in the throughput part")
	size := fs.Int("size", 200, "body bytes")
	rtt := fs.Int("rtt", 1000, "ping-pong exchanges in the latency part")
	window := fs.Int("window", 64, "messages under way at once in the throughput part")
	fs.Parse(args)
	if err := t.prepare(); err != nil {
		return err
	}
	r := newResult(c, "relay")
	a, err := t.loginSteady(0, t.userName(0), "relayA")
	if err != nil {
		return fmt.Errorf("first session: %w", err)
	}
	b, err := t.loginSteady(1, t.userName(1), "relayB")
	if err != nil {
		return fmt.Errorf("second session: %w", err)
	}
	if a.jid == "" || b.jid == "" {
		return errors.New("no JID in bind result")
	}
	body := strings.Repeat("x", *size)
	msg := func(to, id string) string {
		return "<message to='" + to + "' id='" + id + "' type='chat'><body>" + body + "</body></message>"
	}
	wantMsg := func(s *session) (string, error) {
		for {
			raw, err := s.elem()
			if err != nil {
				return "", err
			}
			if !bytes.HasPrefix(raw, []byte("<message")) {
				continue
			}
			if attr(raw, "type") == "error" {
				return "", fmt.Errorf("message bounced: %.300s", raw)
			}
			return attr(raw, "id"), nil
		}
	}
	// part 1: A -> B -> A, one at a time
	echoErr := make(chan error, 1)
	go func() {
		for i := 0; i < *rtt+50; i++ {
			id, err := wantMsg(b)
			if err == nil {
				err = b.send(msg(a.jid, id))
			}
			if err != nil {
				echoErr <- err
				return
			}
		}
		echoErr <- nil
	}()
	var lat []time.Duration
	for i := 0; i < *rtt+50; i++ {
		a.raw.SetDeadline(time.Now().Add(10 * time.Second))
		if i == 50 {
			if err := c.start(); err != nil {
				return err
			}
		}
		t0 := time.Now()
		if err := a.send(msg(b.jid, "p"+strconv.Itoa(i))); err != nil {
			return err
		}
		if _, err := wantMsg(a); err != nil {
			return err
		}
		if i >= 50 {
			lat = append(lat, time.Since(t0))
		}
	}
	if err := <-echoErr; err != nil {
		return err
	}
	a.raw.SetDeadline(time.Time{})
	if *rtt > 0 {
		tmp := newResult(c, "")
		c.cpu(tmp, *rtt, "x")
		r.M["rtt_cpu_ms_per_pingpong"] = tmp.M["cpu_ms_per_x"]
		for _, g := range c.gs {
			if v, ok := tmp.M["cpu_ms_per_x:"+g.Name]; ok {
				r.M["rtt_cpu_ms_per_pingpong:"+g.Name] = v
			}
		}
		r.lat("rtt_", lat)
	}
	// part 2: A -> B, window messages under way
	time.Sleep(200 * time.Millisecond)
	c.mark()
	sent := make([]time.Time, *m)
	one := make([]time.Duration, 0, *m)
	win := make(chan struct{}, *window)
	done := make(chan error, 1)
	go func() {
		for i := 0; i < *m; i++ {
			id, err := wantMsg(b)
			if err != nil {
				done <- err
				return
			}
			now := time.Now()
			k, err := strconv.Atoi(strings.TrimPrefix(id, "m"))
			if err != nil || k != i {
				done <- fmt.Errorf("message %d came with id %q (lost or reordered)", i, id)
				return
			}
			<-win
			one = append(one, now.Sub(sent[k]))
		}
		done <- nil
	}()
	bytesSent := 0
	t0 := time.Now()
	for i := 0; i < *m; i++ {
		select {
		case win <- struct{}{}:
		case err := <-done:
			return err
		case <-time.After(15 * time.Second):
			return fmt.Errorf("stalled at message %d", i)
		}
		x := msg(b.jid, "m"+strconv.Itoa(i))
		bytesSent += len(x)
		sent[i] = time.Now()
		if err := a.send(x); err != nil {
			return err
		}
	}
	if err := <-done; err != nil {
		return err
	}
	wall := time.Since(t0)
	time.Sleep(c.settle)
	mb := float64(bytesSent) / 1e6
	r.N, r.OK, r.C, r.Wall = *m, len(one), *window, wall.Seconds()
	c.cpu(r, *m, "msg")
	r.M["msgs_per_s"] = float64(*m) / wall.Seconds()
	r.M["MB_per_s"] = mb / wall.Seconds()
	r.M["MB"] = mb
	if len(c.gs) > 0 {
		r.M["cpu_ms_per_MB"] = r.M["cpu_s"] * 1000 / mb
		for _, g := range c.gs {
			if v, ok := r.M["cpu_s:"+g.Name]; ok {
				r.M["cpu_ms_per_MB:"+g.Name] = v * 1000 / mb
			}
		}
	}
	r.lat("oneway_", one)
	c.report(r)
	a.close()
	b.close()
	return nil
}
