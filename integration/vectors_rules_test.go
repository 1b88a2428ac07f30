package integration

import (
	"slices"
	"strings"
)

// ruling is what holds for a case beside or instead of its recorded steps: where the recording says it in a note.
type ruling struct {
	// refuses names the option whose value has to be refused at the start.
	refuses string
	// mayRefuse names an option whose value may be refused at the start; otherwise the steps have to hold.
	mayRefuse string
	// steps replace what the recording expects of these steps.
	steps []*want
	// also are further outcomes that are as good.
	also []*want
	// contested says why `also` goes against a recording that is marked "must". Such cases are named in the summary.
	contested string
	// tries is how often a case may be played until it holds, where a busy machine can spoil it; 0 is once.
	tries int
	// final looks at the whole case: what was asked of the script, and the outcomes by step.
	final func(queries []string, outcomes map[int]*got) string
}

func no() *bool { b := false; return &b }

func list(s ...string) *[]string { return &s }

// commandLine: the command is split like a shell command line, without a shell, and is relative to the config file.
var commandLine = ruling{steps: []*want{
	{Step: 2, Kind: oneOf{"success"}, Stream: oneOf{"open"}},
	{Step: 5, Kind: oneOf{"success"}, Stream: oneOf{"open"}},
	{Step: 8, Kind: oneOf{"failure"}, Condition: oneOf{"not-authorized"}, Stream: oneOf{"open"}},
}, final: func(queries []string, _ map[int]*got) string {
	want := []string{
		"auth:alice:xmpp.example:secret", "auth:alice:xmpp.example:secret", "auth:alice:xmpp.example:wrong",
	}
	if !slices.Equal(queries, want) {
		return "the script was asked " + strings.Join(queries, ", ")
	}
	return ""
}}

// lineEnd: a line end in a new password is refused before anything reaches the script.
var lineEnd = ruling{steps: []*want{{
	Step: 5, Kind: oneOf{"iq"}, Type: oneOf{"error"}, Condition: oneOf{"not-acceptable", "bad-request"},
	Stream: oneOf{"open"}, ScriptCalled: no(),
}}}

// heldBack: after a script has died its restart may be held back for a moment.
var heldBack = ruling{also: []*want{
	{Step: 4, Kind: oneOf{"failure"}, Condition: oneOf{"temporary-auth-failure"}, Stream: oneOf{"open"}},
}}

// noTokenInClear: X-TOKEN carries a bearer secret and may be held back where a password is.
var noTokenInClear = ruling{also: []*want{
	{Step: 1, Kind: oneOf{"features"}, Stream: oneOf{"open"}, Mechanisms: list(), StartTLS: oneOf{"optional"}},
}}

// bounced: a message to a user who is not there comes back.
var bounced = ruling{
	contested: "a message that cannot be kept is sent back (service-unavailable) and not dropped in silence",
	also: []*want{{
		Step: 5, Kind: oneOf{"message"}, Type: oneOf{"error"}, Condition: oneOf{"service-unavailable"}, Stream: oneOf{"open"},
	}},
}

// rulings is keyed by the id of a case. A case whose `right` has no steps needs one here.
var rulings = map[string]ruling{
	"SA-045": heldBack,
	"SA-046": heldBack,
	"SA-048": heldBack,
	"SA-051": heldBack,

	// Commands that cannot be started, or can never answer: refused at the start, or every login cannot say.
	"SA-056": {mayRefuse: "external_auth_command"},
	"SA-057": {mayRefuse: "external_auth_command"},
	"SA-063": {mayRefuse: "external_auth_command"},
	"SA-065": {mayRefuse: "external_auth_command"},

	"SA-059": commandLine,
	"SA-060": commandLine,
	"SA-062": commandLine,
	"SA-069": {refuses: "external_auth_protocol"},

	"SP-031": lineEnd,
	"SP-034": {steps: append(lineEnd.steps,
		&want{Step: 8, Kind: oneOf{"failure"}, Condition: oneOf{"not-authorized"}, Stream: oneOf{"open"}})},
	"SP-037": lineEnd,
	"SP-038": lineEnd,

	"SP-046": bounced,
	"SP-047": bounced,
	"SP-062": {
		contested: "control characters are refused before a byte is written, whatever the protocol",
		also: []*want{{
			Step: 5, Kind: oneOf{"iq"}, Type: oneOf{"error"}, Condition: oneOf{"not-acceptable", "bad-request"},
			Stream: oneOf{"open"}, ScriptCalled: no(),
		}},
	},

	"ST-005": noTokenInClear,
	"XT-111": noTokenInClear,
	// "or simply not offered and answered with unsupported-stanza-type"
	"ST-107": {also: []*want{
		{Step: 4, Kind: oneOf{"stream-error"}, Condition: oneOf{"unsupported-stanza-type"}, Stream: oneOf{"closed"}},
	}},

	"TO-007": {refuses: "external_auth_timeout"},
	// The recording's script is asked all four queries one after the other and answers the last after 3 s, although the
	// timeout is 1 s: in the original only the time after the sending counts. Here waiting for a worker counts too
	// (one absolute deadline a query), so the queries that were given up are never sent, and the one with the right
	// password gets the worker that replaces the hung one. It has 80 ms left by then, hence the tries.
	"TO-021": {tries: 4, steps: []*want{{
		Step: 9, Kind: oneOf{"success"}, Stream: oneOf{"open"}, About: 2.9,
	}}, final: func(queries []string, _ map[int]*got) string {
		allowed := []string{
			"auth:probe:xmpp.example:probe-pw",
			"auth:alice:xmpp.example:1", "auth:alice:xmpp.example:2", "auth:alice:xmpp.example:3",
		}
		asked := map[string]int{}
		for _, q := range queries {
			asked[q]++
			if !slices.Contains(allowed, q) || asked[q] > 1 {
				return "the script was asked " + strings.Join(queries, ", ")
			}
		}
		return ""
	}},

	// "which of the two streams wins is a matter of timing; never both"
	"XT-094": {steps: []*want{
		{Step: 4, Kind: oneOf{"success", "failure"}, Stream: oneOf{"open"}},
		{Step: 5, Kind: oneOf{"success", "failure"}, Stream: oneOf{"open"}},
	}, final: func(_ []string, outcomes map[int]*got) string {
		kinds := []string{outcomes[4].kind, outcomes[5].kind}
		slices.Sort(kinds)
		if !slices.Equal(kinds, []string{"failure", "success"}) {
			return "the two streams got " + strings.Join(kinds, " and ")
		}
		return ""
	}},

	"XT-115": {refuses: "otp_seed"},
	"XT-117": {refuses: "otp_seed"},
	// "refuse to start, or ignore the spaces"
	"XT-120": {mayRefuse: "otp_seed", steps: []*want{{Step: 2, Kind: oneOf{"success"}, Stream: oneOf{"open"}}}},
	"XT-123": {refuses: "token_secret"},
	"XT-126": bounced,
	// "does not apply": the mechanism is built in, so that the module's absence makes no difference.
	"XT-124": {steps: []*want{{Step: 2, Kind: oneOf{"success"}, Stream: oneOf{"open"}}}},
}
