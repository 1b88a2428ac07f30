package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// vectorNames are the files that hold conversations; the others hold single calls and are tested by the packages that
// make them.
var vectorNames = []string{
	"plain_generic", "script_answers", "timeouts", "ejabberd", "setpass_isuser", "xtoken", "stream",
}

// vectorFile is one file of recordings. The format is described in the vectors' README.md.
type vectorFile struct {
	Family string        `json:"family"`
	Cases  []*vectorCase `json:"cases"`
}

type vectorCase struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Match  string `json:"match"` // must or differs
	Config struct {
		Hosts  map[string]map[string]any `json:"hosts"`
		Global map[string]any            `json:"global"`
		Files  map[string]struct {
			Mode string `json:"mode"`
			Text string `json:"text"`
		} `json:"files"`
	} `json:"config"`
	ScriptPlan map[string]json.RawMessage `json:"script_plan"`
	Exchange   []*vectorStep              `json:"exchange"`
	Expect     struct {
		Steps []*want `json:"steps"`
	} `json:"expect"`
	Right *struct {
		Steps []*want `json:"steps"`
		Note  string  `json:"note"`
	} `json:"right"`
	AlsoAcceptable []*want `json:"also_acceptable"`
}

// vectorStep is one step of a conversation, with its input only.
type vectorStep struct {
	N         int        `json:"n"`
	Do        string     `json:"do"`
	Conn      string     `json:"conn"`
	To        *string    `json:"to"`
	Open      *bool      `json:"open"`
	TLS       bool       `json:"tls"`
	Mechanism string     `json:"mechanism"`
	Authcid   string     `json:"authcid"`
	Authzid   string     `json:"authzid"`
	Token     *tokenPlan `json:"token"`
	TokenText string     `json:"token_text"` // as it was recorded
	// TokenFacts hold the window of the recorded token, counted from 1970.
	TokenFacts *struct {
		Window int64 `json:"window"`
	} `json:"token_facts"`
	Sent     string      `json:"sent"`
	Data     string      `json:"data"`
	DataHex  string      `json:"data_hex"`
	Chunk    int         `json:"chunk"`
	Resource *string     `json:"resource"`
	NoWait   bool        `json:"nowait"`
	Timeout  float64     `json:"timeout"`
	Seconds  float64     `json:"seconds"`
	Offset   json.Number `json:"offset"`
}

// want is what a step has to give. Fields that are missing in the file are not checked.
type want struct {
	Step         int               `json:"step"`
	Kind         oneOf             `json:"kind"`
	Condition    oneOf             `json:"condition"`
	Type         oneOf             `json:"type"`
	ErrorType    oneOf             `json:"error_type"`
	Stream       oneOf             `json:"stream"`
	JID          oneOf             `json:"jid"`
	Payload      oneOf             `json:"payload"`
	StartTLS     oneOf             `json:"starttls"`
	Mechanisms   *[]string         `json:"mechanisms"`
	Header       map[string]string `json:"header"`
	ScriptCalled *bool             `json:"script_called"`
	ScriptHex    *string           `json:"script_received_hex"`
	About        float64           `json:"about_seconds"`
	Max          float64           `json:"max_seconds"`
	Then         []*want           `json:"then"`
}

// oneOf is a value or a list of values that are as good; empty means that anything is.
type oneOf []string

// UnmarshalJSON takes a string, a list of strings or null.
func (o *oneOf) UnmarshalJSON(text []byte) error {
	var one *string
	if err := json.Unmarshal(text, &one); err == nil {
		if one != nil {
			*o = oneOf{*one}
		}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(o))
}

func (o oneOf) allows(value string) bool {
	return len(o) == 0 || slices.Contains(o, value)
}

// readVectors reads the recordings, the shared ones if they are there and else the repository's copy.
func readVectors(t *testing.T, name string) *vectorFile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../shared/vectors", name+".json"))
	if os.IsNotExist(err) {
		text, err = os.ReadFile(filepath.Join("../testdata/vectors", name+".json"))
	}
	if err != nil {
		t.Fatal(err)
	}
	file := &vectorFile{}
	if err := json.Unmarshal(text, file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return file
}
