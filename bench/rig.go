package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

const module = "gatehouse.im/gatehouse"

// domain is the host of all servers here; the load generator's default too.
const domain = "bench.test"

// A rig is what all parts share.
type rig struct {
	size   size
	log    *log.Logger
	dir    string
	source string // the directory of this module
	made   int    // servers so far
}

// setUp builds the programs and makes a certificate for both sides.
func (r *rig) setUp(ctx context.Context) (err error) {
	r.log.Print("building")
	if r.dir, err = os.MkdirTemp("", "gatehouse-bench-"); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", r.dir+"/",
		module+"/cmd/gatehouse", module+"/bench/xmppload", module+"/bench/xmppload/cmd/authscript")
	if out, err := build.CombinedOutput(); err != nil {
		r.tearDown()
		return fmt.Errorf("building: %w\n%s", err, out)
	}
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module)
	source, err := list.Output()
	if err != nil {
		r.tearDown()
		return fmt.Errorf("finding the module: %w", err)
	}
	r.source = string(bytes.TrimSpace(source))
	gencert := exec.CommandContext(ctx, r.path("xmppload"), "gencert", "-dir", r.dir, "-domain", domain)
	if out, err := gencert.CombinedOutput(); err != nil {
		r.tearDown()
		return fmt.Errorf("making a certificate: %w\n%s", err, out)
	}
	return nil
}

func (r *rig) tearDown() { _ = os.RemoveAll(r.dir) }

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// result is what one run of the load generator reports.
type result struct {
	OK     int                `json:"ok"`
	Errors map[string]int     `json:"errors"`
	M      map[string]float64 `json:"m"`
}

// load runs the load generator in one of its modes against s.
func (r *rig) load(ctx context.Context, s *process, mode string, args ...string) (*result, error) {
	args = append([]string{mode, "-addr", s.address, "-domain", domain, "-pid", strconv.Itoa(s.pid()), "-json", "-", "-q"}, args...)
	cmd := exec.CommandContext(ctx, r.path("xmppload"), args...)
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var res result
	if err == nil {
		err = json.Unmarshal(out, &res)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: xmppload %s: %w\n%s%s", s.name, mode, err, stderr.Bytes(), s.lastWords())
	}
	return &res, nil
}

// errLoad is for runs in which some logins ended otherwise than they should.
var errLoad = errors.New("some logins failed")

// loadClean is load where no login may fail.
func (r *rig) loadClean(ctx context.Context, s *process, mode string, args ...string) (*result, error) {
	res, err := r.load(ctx, s, mode, args...)
	if err == nil && len(res.Errors) > 0 {
		err = fmt.Errorf("%s: xmppload %s: %w: %v\n%s", s.name, mode, errLoad, res.Errors, s.lastWords())
	}
	return res, err
}

// round calls each contestant once, and the other way round every second time,
// so that none is always the one after a pause.
func (r *rig) round(i int, contestants ...func() error) error {
	for k := range contestants {
		if i%2 == 1 {
			k = len(contestants) - 1 - k
		}
		if err := contestants[k](); err != nil {
			return err
		}
	}
	return nil
}
