package integration

import (
	"encoding/json"
	"testing"

	"gatehouse.im/gatehouse/internal/xmpptest"
)

// TestCheck_findsEachDifference changes one thing at a time in an outcome that is right: each change has to be noticed.
func TestCheck_findsEachDifference(t *testing.T) {
	var w want
	err := json.Unmarshal([]byte(`{"step": 1, "kind": ["iq", "features"], "condition": "conflict", "type": "error",
		"error_type": "cancel", "stream": "open", "jid": "alice@xmpp.example/r1", "payload": "{a}b", "starttls": "optional",
		"mechanisms": ["PLAIN"], "header": {"from": "xmpp.example", "id": "<some id>"}, "script_called": true,
		"script_received_hex": "61", "max_seconds": 1, "then": [{"kind": "success"}]}`), &w)
	if err != nil {
		t.Fatal(err)
	}
	resource := "r1"
	step := &vectorStep{Resource: &resource}
	right := func() *got {
		return &got{
			kind: "features", cond: "conflict", typ: "error", errType: "cancel", stream: "open", jid: "alice@xmpp.example/r1",
			payload: "{a}b", tls: "optional", mechs: []string{"PLAIN"}, script: []byte("a"), seconds: 0.5, then: []string{"success"},
			header: &xmpptest.Element{Attrs: map[string]string{"from": "xmpp.example", "id": "1"}},
		}
	}
	if wrong := check(&w, right(), step); len(wrong) > 0 {
		t.Fatalf("right outcome: %q", wrong)
	}
	for name, change := range map[string]func(*got){
		"kind":              func(g *got) { g.kind = "failure" },
		"condition":         func(g *got) { g.cond = "" },
		"type":              func(g *got) { g.typ = "result" },
		"error type":        func(g *got) { g.errType = "wait" },
		"stream":            func(g *got) { g.stream = "closed" },
		"jid":               func(g *got) { g.jid = "bob@xmpp.example/r1" },
		"resource":          func(g *got) { g.jid = "alice@xmpp.example/r2" },
		"payload":           func(g *got) { g.payload = "" },
		"starttls":          func(g *got) { g.tls = "absent" },
		"mechanism more":    func(g *got) { g.mechs = append(g.mechs, "X-TOKEN") },
		"no mechanisms":     func(g *got) { g.mechs = nil },
		"no header":         func(g *got) { g.header = nil },
		"header from":       func(g *got) { g.header.Attrs["from"] = "other.example" },
		"header id":         func(g *got) { delete(g.header.Attrs, "id") },
		"script not asked":  func(g *got) { g.script = nil },
		"script asked else": func(g *got) { g.script = []byte("b") },
		"too slow":          func(g *got) { g.seconds = 1.1 },
		"what follows":      func(g *got) { g.then[0] = "failure" },
	} {
		g := right()
		change(g)
		if wrong := check(&w, g, step); len(wrong) == 0 {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// TestSameJID: a resource that the client chose has to be kept, one that the server chose only has to be there.
func TestSameJID(t *testing.T) {
	r1, forbidden := "r1", "for bidden"
	cases := []struct {
		right, jid string
		resource   *string
		same       bool
	}{
		{"a@h/r1", "a@h/r1", &r1, true},
		{"a@h/r1", "a@h/r2", &r1, false},
		{"a@h/Hy2maNrfUQUL", "a@h/Hy2maNrfUQUL", nil, true},
		{"a@h/Hy2maNrfUQUL", "a@h/x", nil, true},
		{"a@h/Hy2maNrfUQUL", "a@h/x", &forbidden, true},
		{"a@h/Hy2maNrfUQUL", "a@h/for bidden", &forbidden, false},
		{"a@h/Hy2maNrfUQUL", "a@h", nil, false},
		{"a@h/Hy2maNrfUQUL", "b@h/x", nil, false},
	}
	for _, c := range cases {
		if got := sameJID(c.right, c.jid, &vectorStep{Resource: c.resource}); got != c.same {
			t.Errorf("%s and %s: %v", c.right, c.jid, got)
		}
	}
}
