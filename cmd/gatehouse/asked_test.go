package main

import (
	"context"
	"strings"
	"testing"
)

// What has the shape of a ticket could be set as a password, and then nobody would
// ever come in with it. The script does not see it.
func TestAsked_ticketBecomesNoPassword(t *testing.T) {
	j := startJudged(t)
	ctx := context.Background()
	shaped, err := j.d.builder.tickets.Issue("alice", "both.example")
	if err != nil {
		t.Fatal(err)
	}
	for verb, ask := range map[string]func(ctx context.Context, user, host, password string) (bool, error){
		"setpass": asked{j.d}.SetPassword, "tryregister": asked{j.d}.Register, "removeuser3": asked{j.d}.RemoveUser,
	} {
		if ok, err := ask(ctx, "alice", "both.example", shaped); ok || err != nil {
			t.Errorf("%s with a ticket: %v, %v", verb, ok, err)
		}
		if ok, err := ask(ctx, "alice", "both.example", shaped+"."); ok || err != nil {
			t.Errorf("%s with another password: %v, %v", verb, ok, err)
		}
		if _, err := ask(ctx, "alice", "elsewhere.example", shaped); err == nil {
			t.Errorf("%s at a host of others is answered", verb)
		}
		if got := strings.Count(j.queries(), verb+":alice:both.example:"); got != 1 {
			t.Errorf("%s: the script was asked %d times", verb, got)
		}
	}
	if strings.Contains(j.queries(), shaped+"\n") {
		t.Error("the script was shown a ticket")
	}
	if ok, err := (asked{j.d}).CheckPassword(ctx, "alice", "both.example", shaped); !ok || err != nil {
		t.Errorf("the ticket is not good any more: %v, %v", ok, err)
	}
}
