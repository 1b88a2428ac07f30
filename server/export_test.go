package server

import (
	"context"
	"net"
)

// Run serves one connection in the caller's goroutine, without the recover of
// Serve: a panic is the caller's.
func (s *Server) Run(nc net.Conn) {
	newConn(s, s.config.Load(), nc, false).run(context.Background())
}

// Bound returns how many sessions the registry knows, bound or not.
func (s *Server) Bound() int {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	n := 0
	for _, list := range s.registry.sessions {
		n += len(list)
	}
	return n
}

// Resources returns what the sessions of a user are bound to.
func (s *Server) Resources(bare string) (resources []string) {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	for _, session := range s.registry.sessions[bare] {
		resources = append(resources, session.resource)
	}
	return resources
}
