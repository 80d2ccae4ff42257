package azure

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// tunnel is a proxy that connects to one place only, whichever of the known hosts is asked for.
type tunnel struct {
	to      string // host:port
	known   []string
	refused func(string)
}

// ServeHTTP answers CONNECT. https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
func (t tunnel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, port, _ := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || port != "443" || !slices.Contains(t.known, host) {
		t.refused(r.Method + " " + r.Host)
		http.Error(w, "not Azure", http.StatusBadGateway)
		return
	}
	there, err := (&net.Dialer{Timeout: time.Minute}).DialContext(r.Context(), "tcp", t.to)
	if err != nil {
		http.Error(w, "the stand-in has ended", http.StatusBadGateway)
		return
	}
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = there.Close()
		return
	}
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(there, buffered); _ = there.Close() }()
	go func() { _, _ = io.Copy(here, there); _ = here.Close() }()
}

// certificate is for the addresses that are stood in for. It signs itself.
type certificate struct {
	file, keyFile string // PEM
	pair          tls.Certificate
	pool          *x509.CertPool
}

func newCertificate(dir string, hosts []string) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	const life = 48 * time.Hour
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Switchyard's stand-in for Azure"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write the key: %w", err)
	}
	c := &certificate{file: filepath.Join(dir, "azure.pem"), keyFile: filepath.Join(dir, "azure.key"), pool: x509.NewCertPool()}
	c.pair = tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})
	c.pool.AppendCertsFromPEM(text)
	err = errors.Join(os.WriteFile(c.file, text, 0o600),
		os.WriteFile(c.keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	if err != nil {
		return nil, fmt.Errorf("write the certificate: %w", err)
	}
	return c, nil
}

func (c *certificate) serve() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.pair}, MinVersion: tls.VersionTLS12}
}

func (c *certificate) trust() *tls.Config {
	return &tls.Config{RootCAs: c.pool, MinVersion: tls.VersionTLS12}
}
