package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"gatehouse.im/gatehouse/internal/authapi"
)

// apiClient asks the daemon's auth API over its unix socket, one question at a time, on a connection that it keeps. It
// isn't an http.Client: that one would put a question again whose answer got lost, and a ticket is good only once, so
// that the second answer would be a no.
type apiClient struct {
	socket  string
	timeout time.Duration // for a question and its answer
	conn    net.Conn      // nil if there is none, or its state is not known
	in      *bufio.Reader // of conn
}

// maxAnswerBytes bounds an answer's body; it is a word or a sentence.
const maxAnswerBytes = 200

// ask puts a question. Errors hold nothing of what is asked. The daemon prepares the names and checks them.
func (c *apiClient) ask(operation, user, host, password string) (bool, error) {
	deadline := time.Now().Add(c.timeout)
	request := apiRequest(operation, user, host, password)
	kept := c.conn != nil
	err := c.send(request, deadline)
	if err != nil && kept {
		// The daemon has closed the connection since the last question, and not read all of this one.
		err = c.send(request, deadline)
	}
	if err != nil {
		return false, err
	}
	status, text, err := c.receive()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, fmt.Errorf("the daemon has not answered in %s", c.timeout)
	case err != nil:
		return false, fmt.Errorf("the daemon's answer: %w", err)
	case status == http.StatusOK && text == "true":
		return true, nil
	case status == http.StatusOK && text == "false":
		return false, nil
	}
	return false, fmt.Errorf("the daemon answers %d, %q", status, text)
}

// apiRequest is a question as package authapi wants it. What comes from outside is escaped, so that no byte of it can
// end a line.
func apiRequest(operation, user, host, password string) string {
	fields := "user=" + url.QueryEscape(user) + "&server=" + url.QueryEscape(host)
	if password != "" {
		fields += "&pass=" + url.QueryEscape(password)
	}
	switch operation {
	case "check_password", "user_exists":
		return "GET " + authapi.Prefix + operation + "?" + fields + " HTTP/1.1\r\nHost: gatehouse\r\n\r\n"
	}
	return "POST " + authapi.Prefix + operation + " HTTP/1.1\r\nHost: gatehouse\r\n" +
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: " + strconv.Itoa(len(fields)) + "\r\n\r\n" + fields
}

// send writes a request. After an error there is no connection.
func (c *apiClient) send(request string, deadline time.Time) error {
	if c.conn == nil {
		conn, err := (&net.Dialer{Deadline: deadline}).Dial("unix", c.socket)
		if err != nil {
			return err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	err := c.conn.SetDeadline(deadline)
	if err == nil {
		_, err = io.WriteString(c.conn, request)
	}
	if err != nil {
		c.close()
	}
	return err
}

// receive reads the answer to what was sent. The connection is kept if the answer was whole and nothing is behind it.
func (c *apiClient) receive() (status int, text string, err error) {
	keep := false
	defer func() {
		if !keep {
			c.close()
		}
	}()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return 0, "", err
	}
	if len(body) > maxAnswerBytes {
		return 0, "", fmt.Errorf("status %d, and more than %d bytes", resp.StatusCode, maxAnswerBytes)
	}
	keep = !resp.Close && c.in.Buffered() == 0
	return resp.StatusCode, string(body), nil
}

func (c *apiClient) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is lost with it
		c.conn = nil
	}
}
