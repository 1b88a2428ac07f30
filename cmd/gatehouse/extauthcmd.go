package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// ExtauthCmd is an auth script for other servers: it passes their questions to the daemon. It ends when its standard
// input does.
type ExtauthCmd struct {
	Socket   string        `help:"The daemon's socket (gatehouse_extauth_socket)." required:"" placeholder:"PATH"`
	Protocol string        `help:"What is spoken on standard input and output: ejabberd, or generic as Prosody's mod_auth_external does; ${default} without this." enum:"ejabberd,generic" default:"ejabberd"`
	Timeout  time.Duration `help:"Give up a question after this time; 20s for ejabberd and 4s for generic without this, since they wait 30 and 5." placeholder:"DURATION"`
}

// framing is one of the two protocols, from the script's side. See package extauth for the other.
type framing struct {
	// read returns the next query, which is good until the next call, and io.EOF where one might have begun.
	read    func(*bufio.Reader) ([]byte, error)
	yes, no string
	// cannotSay is taken for neither of them.
	cannotSay string
	patience  time.Duration // less than the other side's
}

var framings = map[string]framing{
	// ejabberd (src/extauth.erl, since 18.06) reports a two-byte answer that is not 0 0 or 0 1 in its log, tells its
	// caller that there is no answer and asks the same process again. A process that ends instead takes the query with
	// it to the next one of the pool, and kills that as well. Whoever only looks at the last byte sees a no.
	"ejabberd": {readFrame, "\x00\x02\x00\x01", "\x00\x02\x00\x00", "\x00\x02\xff\x00", 20 * time.Second},
	// Prosody's mod_auth_external logs an answer that begins so.
	"generic": {readLine, "1\n", "0\n", "error: nobody can say at the moment\n", 4 * time.Second},
}

const (
	maxFrameBytes = 2 + 1<<16
	// maxQueryBytes is more than three fields of 1023 bytes, the most that a name or password can have, and a verb. A
	// longer query has a field that cannot be right.
	maxQueryBytes = 3100
)

var errQueryTooLong = errors.New("query too long")

// Run implements the command.
func (cmd *ExtauthCmd) Run(g *globals) error {
	f := framings[cmd.Protocol]
	client := &apiClient{socket: cmd.Socket, timeout: cmd.Timeout}
	if client.timeout <= 0 {
		client.timeout = f.patience
	}
	defer client.close()
	trouble := ""
	in := bufio.NewReaderSize(g.Stdin, maxFrameBytes)
	for {
		query, err := f.read(in)
		var verdict bool
		switch {
		case err == nil:
			verdict, err = pass(client, query)
		case errors.Is(err, errQueryTooLong):
			err = nil // and it is a no
		case errors.Is(err, io.EOF):
			return nil
		default:
			return fmt.Errorf("standard input: %w", err)
		}
		answer := f.no
		switch {
		case err != nil:
			answer = f.cannotSay
			// Once, until something else happens: a server with many users asks often.
			if err.Error() != trouble {
				trouble = err.Error()
				fmt.Fprintln(g.Stderr, "gatehouse extauth: cannot say:", trouble)
			}
		case verdict:
			answer, trouble = f.yes, ""
		default:
			trouble = ""
		}
		if _, err := io.WriteString(g.Stdout, answer); err != nil {
			return fmt.Errorf("standard output: %w", err)
		}
	}
}

// readFrame reads a query behind its 16-bit big-endian length.
func readFrame(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(2)
	if err != nil {
		return nil, atEnd(len(head), err)
	}
	frame, err := in.Peek(2 + int(binary.BigEndian.Uint16(head)))
	if err != nil {
		return nil, atEnd(len(frame), err)
	}
	_, _ = in.Discard(len(frame)) // it is all there
	if len(frame) > 2+maxQueryBytes {
		return nil, errQueryTooLong
	}
	return frame[2:], nil
}

// readLine reads a query and the LF behind it. What the end of the input has cut off is no query: its password may be
// another one's beginning.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	long := errors.Is(err, bufio.ErrBufferFull)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = in.ReadSlice('\n')
	}
	switch {
	case err != nil:
		return nil, atEnd(len(line), err)
	case long || len(line) > maxQueryBytes+1:
		return nil, errQueryTooLong
	}
	return line[:len(line)-1], nil
}

// atEnd tells an end between two queries from one within a query, of which n bytes had come.
func atEnd(n int, err error) error {
	if errors.Is(err, io.EOF) && n > 0 {
		return fmt.Errorf("ends within a query: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// pass asks the daemon what a query asks.
func pass(client *apiClient, query []byte) (bool, error) {
	verb, rest, _ := strings.Cut(string(query), ":")
	user, rest, ok := strings.Cut(rest, ":")
	host, password, withPassword := strings.Cut(rest, ":")
	var operation string
	needsPassword := true
	switch verb {
	case "auth":
		operation = "check_password"
	case "setpass":
		operation = "set_password"
	case "tryregister":
		operation = "register"
	case "removeuser3":
		operation = "remove_user"
	case "isuser":
		operation, needsPassword = "user_exists", false
	case "removeuser":
		operation, needsPassword = "remove_user", false
	default:
		return false, errors.New("a query that is none of auth, isuser, setpass, tryregister, removeuser, removeuser3")
	}
	if !ok || withPassword != needsPassword {
		return false, fmt.Errorf("the query %s has not as many fields as it should have", verb)
	}
	if needsPassword && password == "" {
		return false, nil // nobody's; without one, removeuser3 would be removeuser
	}
	return client.ask(operation, user, host, password)
}
