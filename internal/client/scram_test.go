package client

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
	"testing"
	"time"

	mellium "mellium.im/sasl"

	"gatehouse.im/gatehouse/internal/xmlstream"
	"gatehouse.im/gatehouse/internal/xmpptest"
	"gatehouse.im/gatehouse/saslmech"
)

func serverConfig(pair *xmpptest.Pair) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{pair.TLS}}
}

// ending is how a SCRAM server ends its exchange.
type ending int

const (
	inSuccess    ending = iota // its proof comes with <success/>
	inChallenge                // its proof comes before <success/>
	withoutProof               // it has none
	wrongProof
)

// scram is the server of RFC 5802, written from the RFC: the client's proof has
// to be right.
func scram(mechanism string, end ending) play {
	return func(p *peer) error {
		first, err := message(p, "auth")
		if err != nil {
			return err
		}
		binding, bare, ok := strings.Cut(first, ",,")
		if !ok || !strings.HasPrefix(bare, "n=alice,r=") {
			return fmt.Errorf("client-first-message %q", first)
		}
		wantBinding, bindingData := "n", ""
		if strings.HasSuffix(mechanism, "-PLUS") {
			state := p.Conn.(*tls.Conn).ConnectionState()
			wantBinding, bindingData = "p=tls-unique", string(state.TLSUnique)
			if state.Version == tls.VersionTLS13 {
				data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
				if err != nil {
					return err
				}
				wantBinding, bindingData = "p=tls-exporter", string(data)
			}
		}
		if binding != wantBinding {
			return fmt.Errorf("channel binding %q, want %q", binding, wantBinding)
		}
		nonce := strings.TrimPrefix(bare, "n=alice,r=") + "server"
		serverFirst := "r=" + nonce + ",s=" + encode("salt") + ",i=4096"
		if err := say(inSASL("<challenge>" + encode(serverFirst) + "</challenge>"))(p); err != nil {
			return err
		}
		final, err := message(p, "response")
		if err != nil {
			return err
		}
		withoutClientProof := "c=" + encode(binding+",,"+bindingData) + ",r=" + nonce
		clientProof, serverSignature, err := signatures(mechanism, bare+","+serverFirst+","+withoutClientProof)
		if err != nil {
			return err
		}
		if final != withoutClientProof+",p="+clientProof {
			return fmt.Errorf("client-final-message %q", final)
		}
		return finishScram(p, end, "v="+serverSignature)
	}
}

func finishScram(p *peer, end ending, proof string) error {
	switch end {
	case withoutProof:
		return say(inSASL("<success/>"))(p)
	case wrongProof:
		return say(inSASL("<success>" + encode("v="+encode("wrong")) + "</success>"))(p)
	case inChallenge:
		if err := say(inSASL("<challenge>" + encode(proof) + "</challenge>"))(p); err != nil {
			return err
		}
		if empty, err := message(p, "response"); err != nil || empty != "" {
			return fmt.Errorf("last response %q: %w", empty, err)
		}
		return say(inSASL("<success/>"))(p)
	}
	return say(inSASL("<success>" + encode(proof) + "</success>"))(p)
}

// signatures are the client's proof and the server's signature (RFC 5802 §3).
func signatures(mechanism, authMessage string) (clientProof, server string, err error) {
	newHash := sha256.New
	if strings.Contains(mechanism, "SHA-1") {
		newHash = sha1.New
	}
	salted, err := pbkdf2.Key(newHash, testSecret, []byte("salt"), 4096, newHash().Size())
	if err != nil {
		return "", "", err
	}
	clientKey := sign(newHash, salted, "Client Key")
	stored := newHash()
	stored.Write(clientKey)
	proof := sign(newHash, stored.Sum(nil), authMessage)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	signature := sign(newHash, sign(newHash, salted, "Server Key"), authMessage)
	return encode(string(proof)), encode(string(signature)), nil
}

func sign(newHash func() hash.Hash, key []byte, text string) []byte {
	mac := hmac.New(newHash, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// message reads an element of the client and returns its decoded text.
func message(p *peer, name string) (string, error) {
	heard, err := p.until("</" + name + ">")
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(heard[strings.LastIndex(strings.TrimSuffix(heard, "</"+name+">"), ">")+1:], "</"+name+">")
	raw, err := base64.StdEncoding.DecodeString(text)
	return string(raw), err
}

// Some of these make the mechanism's own parser run for ever.
func TestStep_refusesMalformedChallenges(t *testing.T) {
	l := &login{Options: Options{User: "alice", Secret: saslmech.NewSecret([]byte(testSecret))}}
	for _, challenge := range []string{
		"", "x", ",", "r=", "r=a", "r=a,s=b", "r=a,,i=1", "r=a,s=c2FsdA==,i=", "r=a,s=c2FsdA==,i=0", "r=a,s=c2FsdA==,i=-1",
		"r=a,s=c2FsdA==,i=1000001", "r=a,s=c2FsdA==,i=99999999999999999999", "s=c2FsdA==,r=a,i=4096", "m=x,r=a,s=c2FsdA==,i=4096",
		"r=a,s=c2FsdA==,i=4096,", "r=a,s=c2FsdA==,i=4096,r=b", "r=a,s=c2FsdA==,i=4096,m=x", "r=another,s=c2FsdA==,i=4096", "e=other-error",
	} {
		n, err := l.negotiator(findMechanism("SCRAM-SHA-1"), []string{"SCRAM-SHA-1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := n.Step(nil); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, _, err := step(n, &xmlstream.Element{Text: encode(challenge)})
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("challenge %q was taken", challenge)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("challenge %q: no end", challenge)
		}
	}
}

// FuzzStep proves that no challenge hangs or crashes the mechanism, and that none
// is taken for the server's proof.
func FuzzStep(f *testing.F) {
	f.Add([]byte("r=NONCEserver,s=c2FsdA==,i=4096"), []byte("v=c2lnbmF0dXJl"))
	f.Add([]byte("r=NONCEserver,s=c2FsdA==,i=1,x=y"), []byte("e=invalid-proof"))
	f.Add([]byte(",,,"), []byte(""))
	l := &login{Options: Options{User: "alice", Secret: saslmech.NewSecret([]byte(testSecret))}}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		if i := strings.Index(string(first), "i="); i >= 0 && len(first) > i+6 {
			return // a fuzzer's time is not for counting to a million
		}
		n, err := l.negotiator(findMechanism("SCRAM-SHA-256"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := n.Step(nil); err != nil {
			t.Fatal(err)
		}
		first = []byte(strings.ReplaceAll(string(first), "NONCE", string(n.Nonce())))
		more, _, err := step(n, &xmlstream.Element{Text: encode(string(first))})
		if err != nil {
			return
		}
		if !more || n.State()&mellium.StepMask != mellium.ResponseSent {
			t.Fatalf("the exchange ended after %q", first)
		}
		if _, _, err := step(n, &xmlstream.Element{Text: encode(string(second))}); err == nil {
			t.Fatalf("%q was taken for a proof", second)
		}
	})
}
