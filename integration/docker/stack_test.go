package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// project is what Docker calls everything of ours.
	project = "gatehouse-test"
	// network is the one that compose makes for the project.
	network = project + "_default"
	// commandLimit bounds a command of Docker. Building the images is the longest.
	commandLimit = 10 * time.Minute
	// patience bounds every wait for something that should happen soon. It is long because the machine may be busy.
	patience = 60 * time.Second
)

// stack is the running compose project.
type stack struct {
	dir     string   // GATEHOUSE_TEST of compose.yaml
	compose []string // the command: "docker compose", or Debian's "docker-compose"
}

func newStack(dir string) *stack {
	compose := []string{"docker", "compose"}
	if exec.Command("docker", "compose", "version").Run() != nil {
		compose = []string{"docker-compose"}
	}
	return &stack{dir: dir, compose: append(compose, "--project-name", project, "--file", "compose.yaml")}
}

// docker runs a command of Docker.
func (s *stack) docker(args ...string) error {
	_, err := s.run(append([]string{"docker"}, args...)...)
	return err
}

// run runs a command and returns what it wrote to standard output. Its error has the end of all that it wrote.
func (s *stack) run(command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "GATEHOUSE_TEST="+s.dir)
	cmd.WaitDelay = 10 * time.Second // for children of a command that took too long
	var stdout, all lockedBuffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, &all), &all
	if err := cmd.Run(); err != nil {
		text := all.String()
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, text[max(0, len(text)-4096):])
	}
	return strings.TrimSpace(stdout.String()), nil
}

// lockedBuffer is one that two goroutines may write to.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(data)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// up builds what is not built, starts everything, and waits until it is healthy.
func (s *stack) up() error {
	if _, err := s.run(append(s.compose, "build")...); err != nil {
		return err
	}
	if _, err := s.run(append(s.compose, "up", "--detach", "--no-build", "--force-recreate")...); err != nil {
		return err
	}
	for _, service := range []string{"gatehouse", "prosody", "ejabberd"} {
		if err := s.healthy(service); err != nil {
			return err
		}
	}
	return nil
}

// down ends everything and leaves the images for the next time.
func (s *stack) down() error {
	_, err := s.run(append(s.compose, "down", "--volumes", "--timeout", "1")...)
	return err
}

// logs returns what services wrote, or all of them.
func (s *stack) logs(services ...string) (string, error) {
	return s.run(slices.Concat(s.compose, []string{"logs", "--no-color", "--timestamps"}, services)...)
}

// container returns the id of a service's container, which may have ended. Compose would know, too, but takes a second.
func (s *stack) container(service string) (string, error) {
	id, err := s.run("docker", "ps", "--all", "--quiet", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+project, "--filter", "label=com.docker.compose.service="+service)
	if err == nil && (id == "" || strings.Contains(id, "\n")) {
		err = fmt.Errorf("service %s has not one container: %q", service, id)
	}
	return id, err
}

// healthy waits until the health check of a service is content.
func (s *stack) healthy(service string) error {
	id, err := s.container(service)
	if err != nil {
		return err
	}
	return poll(func() error {
		status, err := s.run("docker", "inspect", "--format", "{{.State.Health.Status}}", id)
		if err == nil && status != "healthy" {
			err = fmt.Errorf("%s is %s", service, status)
		}
		return err
	})
}

// address returns where a service takes clients. It is another one after each start.
func (s *stack) address(service string) (string, error) { return s.port(service, "5222") }

// port returns where one of the ports of a service that compose.yaml publishes can be reached.
func (s *stack) port(service, port string) (string, error) {
	id, err := s.container(service)
	if err != nil {
		return "", err
	}
	return s.run("docker", "port", id, port+"/tcp")
}

// exec runs a command in a service's container.
func (s *stack) exec(service string, command ...string) (string, error) {
	id, err := s.container(service)
	if err != nil {
		return "", err
	}
	return s.run(append([]string{"docker", "exec", id}, command...)...)
}

// must fails the test if a step of it cannot be done.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// poll calls f until it returns nil, and returns its last error if that takes too long.
func poll(f func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(errors.New("waited too long"), err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
