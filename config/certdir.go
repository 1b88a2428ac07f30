package config

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"gatehouse.im/gatehouse/internal/luaconf"
)

// Bounds of the search through the certificates directory. The depth is Prosody's.
const (
	maxCertDepth = 3
	maxCertFiles = 10_000
)

// certIndex maps names to the certificates that are for them; "*.example.org" is a name. It is nil until needed.
type certIndex map[string][]certFile

// findCertificates looks for a host's certificates as find_host_cert of core/certmanager.lua does: by the names in the
// certificates of the directory, then by file name, then the same for the parent domain.
func (l *loader) findCertificates(s section) []Certificate {
	if l.index == nil {
		l.index = make(certIndex)
		l.indexDir(l.certDir(), l.index, maxCertDepth, new(int))
	}
	for name := s.host; name != ""; name = parentOf(name) {
		candidates := append(append([]certFile{}, l.index[name]...), l.index["*."+parentOf(name)]...)
		candidates = append(candidates, l.certsByFile(section{l, name}, name)...)
		var certs []Certificate
		var failed []error
		for _, f := range candidates {
			c, err := l.certificate(f)
			if err != nil {
				failed = append(failed, err)
				continue
			}
			certs = append(certs, c)
		}
		for _, err := range failed {
			if len(certs) > 0 {
				s.warn("certificates", "%v", err)
			} else {
				s.problem("certificates", "%v", err)
			}
		}
		if len(certs) > 0 || len(failed) > 0 {
			return bestCertificates(certs)
		}
	}
	return nil
}

func (l *loader) certDir() string {
	return l.resolve(section{l, "*"}.string("certificates", "certs"))
}

// certsByFile looks under the option `certificate` of a host, which is a file or a directory, or else in the certificates
// directory. The option has to name something that is there; the directory need not hold anything.
func (l *loader) certsByFile(s section, name string) []certFile {
	base := l.certDir()
	if s.has("certificate") {
		base = l.resolve(s.string("certificate", base))
		l.sources.file(base)
		if info, err := os.Stat(base); err != nil {
			s.problem("certificate", "%s: %v", base, unwrapPath(err))
			return nil
		} else if info.Mode().IsRegular() {
			return []certFile{{base, matchingKey(base)}}
		}
	}
	if strings.ContainsAny(name, "/\\") {
		return nil
	}
	var found []certFile
	for _, try := range []certFile{
		{name + ".crt", name + ".key"},
		{name + "/fullchain.pem", name + "/privkey.pem"},
		{name + ".pem", name + ".pem"},
	} {
		f := certFile{filepath.Join(base, try.cert), filepath.Join(base, try.key)}
		if base != l.certDir() { // whose files are among the sources by patterns
			l.sources.file(f.cert)
			l.sources.file(f.key)
		}
		if isFile(f.cert) && isFile(f.key) {
			found = append(found, f)
		}
	}
	return found
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// matchingKey is the file beside a certificate that should hold its key. A file of another name holds both.
func matchingKey(cert string) string {
	dir, file := filepath.Split(cert)
	if base, ok := strings.CutSuffix(file, ".crt"); ok {
		return dir + base + ".key"
	}
	return dir + strings.ReplaceAll(file, "fullchain", "privkey")
}

// indexDir adds what index_certs of core/certmanager.lua finds: files *.crt and those with fullchain in their names, with
// a key beside them, valid today.
func (l *loader) indexDir(dir string, index certIndex, depth int, files *int) {
	before := stampFile(dir)
	entries, err := os.ReadDir(dir)
	var names []string
	if err == nil {
		names = matchingOf(entries, "*")
	}
	l.sources.certDir(dir, before, names)
	if err != nil {
		s := section{l, "*"}
		if s.has("certificates") && depth == maxCertDepth {
			s.warn("certificates", "%s: %v", dir, unwrapPath(err))
		}
		return
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path) // follows links: certbot's live directory is made of them
		if *files++; *files > maxCertFiles {
			continue
		}
		if l.sources.match(path, info); err != nil {
			continue
		}
		switch {
		case info.IsDir():
			if depth > 1 && !strings.HasPrefix(entry.Name(), ".") {
				l.indexDir(path, index, depth-1, files)
			}
		case info.Mode().IsRegular() && (strings.HasSuffix(entry.Name(), ".crt") || strings.Contains(entry.Name(), "fullchain")):
			indexFile(path, info, index)
		}
	}
}

// namesCertificate says whether a file of this name may be read as a certificate or key that was found in a directory.
func namesCertificate(name string) bool {
	switch filepath.Ext(name) {
	case ".crt", ".key", ".pem":
		return true
	}
	return strings.Contains(name, "fullchain") || strings.Contains(name, "privkey")
}

func indexFile(path string, info fs.FileInfo, index certIndex) {
	key := matchingKey(path)
	if info.Size() > maxCertBytes || !isFile(key) || !beginsWithCertificate(path) {
		return
	}
	data, err := readPEM(path)
	if err != nil {
		return
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil || time.Now().After(leaf.NotAfter) || time.Now().Before(leaf.NotBefore) {
		return
	}
	for _, name := range certNames(leaf) {
		index[name] = append(index[name], certFile{path, key})
	}
}

func beginsWithCertificate(path string) bool {
	f, err := luaconf.OpenFile(path)
	if err != nil {
		return false
	}
	defer f.Close()
	line, _ := bufio.NewReaderSize(f, 256).ReadString('\n')
	return strings.TrimRight(line, "\r\n") == "-----BEGIN CERTIFICATE-----"
}

// certNames are the names that a certificate is for, in the form of host names in the config: Unicode, lower case.
func certNames(leaf *x509.Certificate) []string {
	var names []string
	for _, name := range append(append([]string{}, leaf.DNSNames...), leaf.Subject.CommonName) {
		bare, wildcard := strings.CutPrefix(name, "*.")
		unicode, err := idna.ToUnicode(strings.ToLower(bare))
		if err != nil || unicode == "" {
			continue
		}
		if wildcard {
			unicode = "*." + unicode
		}
		known := false
		for _, n := range names {
			known = known || n == unicode
		}
		if !known {
			names = append(names, unicode)
		}
	}
	return names
}
