package docker

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"gatehouse.im/gatehouse/integration/docker/engine"
)

const (
	// project is what Docker calls everything of ours.
	project = "gatehouse-test"
	// network is the one that compose makes for the project.
	network = project + "_default"
	// patience bounds every wait for something that should happen soon.
	patience = engine.Patience
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
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "GATEHOUSE_TEST="+s.dir)
	return engine.Output(cmd)
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
	return engine.Poll(func() error {
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
