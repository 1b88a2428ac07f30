package main

import (
	"errors"
	"fmt"
	"time"
)

// cmdDesync asks whether an answer that comes too late is taken for the answer
// to somebody else's question. First, ten logins with right and wrong passwords
// in turn show whether questions and answers match at all. Then a user whose
// check outlasts the server's limit logs in, and after that ten more in turn.
func cmdDesync(args []string) error {
	fs, t, c := newFlags("desync")
	slowUser := fs.String("slow-user", "delay7000", "a user the auth script is slow for (longer than the server's limit)")
	wait := fs.Duration("wait", 500*time.Millisecond, "pause after the slow login")
	warm := fs.Int("warm", 10, "logins beforehand, one after another")
	fs.Parse(args)
	if err := t.prepare(); err != nil {
		return err
	}
	r := newResult(c, "desync")
	loginMany(t, *warm, 1, 0, newResult(c, "warm"), nil)
	bad := *t
	bad.Fail = true
	// ten logins one by one, right, wrong, right, ...; counts wrong outcomes
	turns := func(when string) (trace string, clean bool) {
		clean = true
		for i := 0; i < 10; i++ {
			if i&1 == 0 {
				s, err := t.login(i)
				switch {
				case err == nil:
					s.close()
					trace += "ok "
				default:
					trace += "RIGHT-REJECTED "
					r.M[when+"_right_rejected"]++
					clean = false
				}
				continue
			}
			_, err := bad.login(i)
			var le *loginErr
			switch {
			case err == error(errNotAuthorized):
				trace += "no "
			case errors.As(err, &le) && le.kind == "unexpected-success":
				trace += "WRONG-ACCEPTED "
				r.M[when+"_wrong_accepted"]++
				clean = false
			default:
				trace += le.kind + " "
			}
		}
		return
	}
	b, clean := turns("before")
	if clean {
		r.M["in_step_before"] = 1
	} else {
		r.M["in_step_before"] = 0
	}
	t0 := time.Now()
	s, err := t.loginAs(0, *slowUser, "slow")
	r.M["slow_login_s"] = time.Since(t0).Seconds()
	mid := "accepted"
	if err != nil {
		mid = "rejected"
	} else {
		r.M["slow_login_accepted"] = 1
		s.close()
	}
	time.Sleep(*wait)
	a, clean := turns("after")
	if clean {
		r.M["in_step_after"] = 1
	} else {
		r.M["in_step_after"] = 0
	}
	r.N = 21
	r.Trace = fmt.Sprintf("before: %s| slow: %s after %.1fs | after: %s", b, mid, r.M["slow_login_s"], a)
	c.report(r)
	return nil
}
