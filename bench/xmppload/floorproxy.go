package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// cmdFloorProxy is a bare Go TLS terminator: accept, handshake, copy bytes.
func cmdFloorProxy(args []string) error {
	fs := flag.NewFlagSet("floor-proxy", flag.ExitOnError)
	addr := fs.String("addr", "127.0.0.1:15391", "listen address (direct TLS); the one in use is printed as \"listening ADDRESS\"")
	up := fs.String("upstream", "127.0.0.1:15301", "plain TCP server behind it")
	cert := fs.String("cert", "ecdsa.crt", "certificate")
	key := fs.String("key", "ecdsa.key", "key")
	bufN := fs.Int("buf", 4096, "copy buffer bytes")
	fs.Parse(args)
	c, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return err
	}
	conf := &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Println("listening", ln.Addr())
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			tc := tls.Server(conn, conf)
			defer tc.Close()
			if tc.Handshake() != nil {
				return
			}
			u, err := net.Dial("tcp", *up)
			if err != nil {
				return
			}
			defer u.Close()
			var wg sync.WaitGroup
			wg.Add(2)
			cp := func(dst io.Writer, src io.Reader, end func()) {
				defer wg.Done()
				defer end()
				b := make([]byte, *bufN)
				for {
					n, err := src.Read(b)
					if n > 0 {
						if _, err := dst.Write(b[:n]); err != nil {
							return
						}
					}
					if err != nil {
						return
					}
				}
			}
			go cp(u, tc, func() { u.(*net.TCPConn).CloseWrite() })
			go cp(tc, u, func() { tc.CloseWrite(); conn.SetReadDeadline(time.Now().Add(time.Second)) })
			wg.Wait()
		}()
	}
}
