// Command testscript is an external auth script that does what a plan tells it: right answers, and every kind of
// wrong, late, torn or missing one. It writes down all the bytes that it gets and gives.
//
// The plan is the JSON file NAME.plan beside the name it was started by, the record NAME.log. Arguments are ignored, but
// for --plan: "#!/path/to/testscript --plan" as the first line of a file makes the rest of the file the plan, so that
// what the script does changes with the script itself.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// plan is what the recorded cases call script_plan.
type plan struct {
	Protocol string            `json:"protocol"` // generic or ejabberd
	Accounts map[string]string `json:"accounts"` // user to password
	Think    float64           `json:"think"`    // seconds before each answer
	Rules    []rule            `json:"rules"`
}

// rule says what to do instead of the normal answer. Zero fields match everything.
type rule struct {
	At    string   `json:"at"`    // "start": once, before the first query
	Match string   `json:"match"` // the query holds this
	Nth   int      `json:"nth"`   // and is the nth of this process
	Life  int      `json:"life"`  // which is the life-th process
	Every int      `json:"every"` // the rule is for one query in so many
	While string   `json:"while"` // and as long as this file is there
	Do    []action `json:"do"`
}

// action is one step of a rule; exactly one field is set.
type action struct {
	Write    *string  `json:"write"`
	WriteHex *string  `json:"write_hex"`
	Stderr   *string  `json:"stderr"`
	Sleep    *float64 `json:"sleep"`
	Exit     *int     `json:"exit"`
	Kill     *int     `json:"kill"`
	Answer   bool     `json:"answer"`
	Double   bool     `json:"double"` // the normal answer, twice in one write
	Echo     bool     `json:"echo"`
	Leak     int      `json:"leak"` // open so many files and keep them, or exit
	Fork     bool     `json:"fork"` // start a process that has the same files and stays
}

// event is a line of the record.
type event struct {
	At   float64 `json:"at"` // unix time in seconds
	Ev   string  `json:"ev"` // start, recv, answer, end
	Life int     `json:"life"`
	PID  int     `json:"pid"`
	Hex  string  `json:"hex,omitempty"`
}

type script struct {
	plan   plan
	record *os.File
	life   int
	in     *bufio.Reader
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "linger" {
		time.Sleep(10 * time.Minute)
		return
	}
	name := os.Args[0]
	planFile := name + ".plan"
	if len(os.Args) == 3 && os.Args[1] == "--plan" {
		name, planFile = os.Args[2], os.Args[2]
	}
	if err := run(name, planFile); err != nil {
		fmt.Fprintln(os.Stderr, "testscript:", err)
		os.Exit(70)
	}
}

func run(name, planFile string) error {
	text, err := os.ReadFile(planFile)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(text, []byte("#!")) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	s := &script{in: bufio.NewReaderSize(os.Stdin, 1<<17)}
	if err := json.Unmarshal(text, &s.plan); err != nil {
		return err
	}
	s.record, err = os.OpenFile(name+".log", os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := s.begin(name); err != nil {
		return err
	}
	for _, r := range s.plan.Rules {
		if r.At == "start" {
			s.perform(r.Do, nil)
		}
	}
	for n := 1; ; n++ {
		query, raw, err := s.read()
		if len(raw) > 0 {
			s.log("recv", raw)
		}
		if err != nil {
			s.log("end", nil)
			if errors.Is(err, io.EOF) || errors.Is(err, syscall.EIO) {
				return nil
			}
			return fmt.Errorf("reading a query in %s: %w", filepath.Base(name), err)
		}
		s.serve(n, query)
	}
}

// begin counts the processes of this script by the "start" lines of the record, under a lock since several may start
// at once.
func (s *script) begin(name string) error {
	lock, err := os.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	text, err := os.ReadFile(name + ".log")
	if err != nil {
		return err
	}
	s.life = bytes.Count(text, []byte(`"ev":"start"`)) + 1
	s.log("start", nil)
	return nil
}

func (s *script) log(ev string, data []byte) {
	now := float64(time.Now().UnixMicro()) / 1e6
	line, err := json.Marshal(event{At: now, Ev: ev, Life: s.life, PID: os.Getpid(), Hex: hex.EncodeToString(data)})
	if err == nil {
		_, err = s.record.Write(append(line, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testscript: record:", err)
		os.Exit(70)
	}
}

// read returns the next query without its framing, and its bytes as they came. Both may be there beside an error.
func (s *script) read() (query string, raw []byte, err error) {
	if s.plan.Protocol != "ejabberd" {
		raw, err = s.in.ReadBytes('\n')
		return strings.TrimSuffix(string(raw), "\n"), raw, err
	}
	head := make([]byte, 2)
	n, err := io.ReadFull(s.in, head)
	if err != nil {
		return "", head[:n], err
	}
	body := make([]byte, binary.BigEndian.Uint16(head))
	n, err = io.ReadFull(s.in, body)
	return string(body[:n]), append(head, body[:n]...), err
}

func (s *script) serve(n int, query string) {
	time.Sleep(time.Duration(s.plan.Think * float64(time.Second)))
	for _, r := range s.plan.Rules {
		if r.At == "" && strings.Contains(query, r.Match) && (r.Nth == 0 || r.Nth == n) && (r.Life == 0 || r.Life == s.life) &&
			(r.Every == 0 || n%r.Every == 0) && r.holds() {
			s.perform(r.Do, &query)
			return
		}
	}
	s.answer(query)
}

// holds says whether the file is there that the rule needs.
func (r *rule) holds() bool {
	if r.While == "" {
		return true
	}
	_, err := os.Stat(r.While)
	return err == nil
}

func (s *script) perform(actions []action, query *string) {
	for _, a := range actions {
		switch {
		case a.Write != nil:
			s.write([]byte(*a.Write))
		case a.WriteHex != nil:
			data, err := hex.DecodeString(*a.WriteHex)
			if err != nil {
				fmt.Fprintln(os.Stderr, "testscript: plan:", err)
				os.Exit(70)
			}
			s.write(data)
		case a.Stderr != nil:
			fmt.Fprint(os.Stderr, *a.Stderr)
		case a.Sleep != nil:
			time.Sleep(time.Duration(*a.Sleep * float64(time.Second)))
		case a.Exit != nil:
			s.log("end", nil)
			os.Exit(*a.Exit)
		case a.Kill != nil:
			s.log("end", nil)
			_ = syscall.Kill(os.Getpid(), syscall.Signal(*a.Kill))
			_ = syscall.Pause()
		case a.Answer && query != nil:
			s.answer(*query)
		case a.Double && query != nil:
			s.write(bytes.Repeat(s.verdict(*query), 2))
		case a.Echo && query != nil:
			s.write(s.frame(*query))
		case a.Leak > 0:
			s.leak(a.Leak)
		case a.Fork:
			s.fork()
		}
	}
}

// leak opens files that nobody closes.
func (s *script) leak(count int) {
	for range count {
		if _, err := syscall.Open(os.DevNull, syscall.O_RDONLY, 0); err != nil {
			fmt.Fprintln(os.Stderr, "testscript:", err)
			s.log("end", nil)
			os.Exit(1)
		}
	}
}

// fork leaves a process behind that has this one's files and does nothing; "linger" tells it from the script.
func (s *script) fork() {
	child := exec.Command("/proc/self/exe", "linger", s.record.Name())
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "testscript:", err)
	}
}

// answer gives the normal answer.
func (s *script) answer(query string) { s.write(s.verdict(query)) }

// verdict is the normal answer: it compares and replaces passwords as bytes.
func (s *script) verdict(query string) []byte {
	yes := false
	op, rest, _ := strings.Cut(query, ":")
	user, rest, _ := strings.Cut(rest, ":")
	_, password, _ := strings.Cut(rest, ":")
	known, ok := s.plan.Accounts[user]
	switch op {
	case "auth":
		yes = ok && known == password
	case "isuser":
		yes = ok
	case "setpass":
		yes = ok
		if ok {
			s.plan.Accounts[user] = password
		}
	}
	switch {
	case s.plan.Protocol == "ejabberd" && yes:
		return []byte{0, 2, 0, 1}
	case s.plan.Protocol == "ejabberd":
		return []byte{0, 2, 0, 0}
	case yes:
		return []byte("1\n")
	}
	return []byte("0\n")
}

func (s *script) frame(query string) []byte {
	if s.plan.Protocol != "ejabberd" {
		return []byte(query + "\n")
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
}

// write gives the bytes in one write. They are recorded first: whoever has seen them can rely on the record.
func (s *script) write(data []byte) {
	s.log("answer", data)
	if _, err := os.Stdout.Write(data); err != nil {
		s.log("end", nil)
		os.Exit(71)
	}
}
