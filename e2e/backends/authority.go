package backends

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateLife is the validity of a certificate: longer than any test runs.
const certificateLife = 24 * time.Hour

// Authority issues certificates for servers on this machine, and for clients.
type Authority struct {
	// File is the path of the authority's own certificate, in PEM.
	File string

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

// NewAuthority creates an authority and writes its certificate into the folder.
func NewAuthority(dir string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "chatcompletion test"},
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	a := &Authority{File: filepath.Join(dir, "ca.crt"), certificate: template, key: key}
	signed, err := a.sign(template, &key.PublicKey)
	if err != nil {
		return nil, err
	}
	if a.certificate, err = x509.ParseCertificate(signed); err != nil {
		return nil, err
	}
	return a, writePEM(a.File, "CERTIFICATE", signed)
}

// Server returns a certificate for localhost and 127.0.0.1.
func (a *Authority) Server() (tls.Certificate, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
}

// Client returns a client certificate for the user in the group.
func (a *Authority) Client(user, group string) (tls.Certificate, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: []string{group}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// Pool returns a pool that trusts only this authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func (a *Authority) issue(template *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	signed, err := a.sign(template, &key.PublicKey)
	return tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}, err
}

func (a *Authority) sign(template *x509.Certificate, public *ecdsa.PublicKey) ([]byte, error) {
	a.serial++
	template.SerialNumber = big.NewInt(a.serial)
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(certificateLife)
	return x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
}

// writePair writes a certificate and its key as name.crt and name.key into the folder.
func writePair(dir, name string, pair tls.Certificate) error {
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", pair.Certificate[0]),
		writePEM(filepath.Join(dir, name+".key"), "PRIVATE KEY", key),
	)
}

func writePEM(path, kind string, content []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600)
}
