package backends

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/modelroute/chatcompletion/e2e/program"
	"github.com/modelroute/chatcompletion/e2e/progress"
)

// redisPackages are the packages of Debian and Ubuntu that redis-server needs and that few machines have: redis-tools has
// the program itself, under another name.
var redisPackages = []string{"redis-tools", "libjemalloc2", "liblzf1", "libatomic1"}

// RedisServerBinary returns the path of a redis-server: the one that the environment variable
// REDIS_SERVER names, else the one on PATH, else one from Debian's packages, which it downloads into
// the cache folder and does not install. It writes to log when it downloads.
func RedisServerBinary(ctx context.Context, log io.Writer) (string, error) {
	if named := os.Getenv("REDIS_SERVER"); named != "" {
		if _, err := exec.LookPath(named); err != nil {
			return "", fmt.Errorf("REDIS_SERVER=%s: %w", named, err)
		}
		return filepath.Abs(named)
	}
	if found, err := exec.LookPath("redis-server"); err == nil {
		return found, nil
	}
	cache, err := program.Cache()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, "redis-server")
	binary := filepath.Join(folder, "redis-server")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	line := progress.Start(log, "downloading redis-server")
	err = downloadRedis(ctx, folder)
	line.End()
	if err != nil {
		return "", fmt.Errorf("no redis-server on PATH: install it (Debian's package is redis-server), or set REDIS_SERVER=/path/to/redis-server: %w", err)
	}
	return binary, nil
}

// downloadRedis downloads redis-server with its libraries into a folder.
func downloadRedis(ctx context.Context, folder string) error {
	partial, err := os.MkdirTemp(filepath.Dir(folder), "download-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(partial) }()
	if err := runIn(ctx, partial, "apt-get", append([]string{"download"}, redisPackages...)...); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(partial, "*.deb"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if err := runIn(ctx, partial, "dpkg-deb", "-x", archive, partial); err != nil {
			return err
		}
		if err := os.Remove(archive); err != nil {
			return err
		}
	}
	// The program is the server unless it is called redis-check-rdb.
	if err := os.Rename(filepath.Join(partial, "usr", "bin", "redis-check-rdb"), filepath.Join(partial, "usr", "bin", "redis-server")); err != nil {
		return err
	}
	libraries, err := filepath.Glob(filepath.Join(partial, "usr", "lib", "*-linux-gnu*"))
	if err != nil || len(libraries) == 0 {
		return fmt.Errorf("the packages have no libraries: %w", err)
	}
	script := fmt.Sprintf("#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q \"$@\"\n", filepath.Join(folder, "usr", "lib", filepath.Base(libraries[0])),
		filepath.Join(folder, "usr", "bin", "redis-server"))
	if err := os.WriteFile(filepath.Join(partial, "redis-server"), []byte(script), 0o755); err != nil {
		return err
	}
	_ = os.RemoveAll(folder)
	if err := os.Rename(partial, folder); err != nil {
		return err
	}
	if err := runIn(ctx, folder, filepath.Join(folder, "redis-server"), "--version"); err != nil {
		_ = os.RemoveAll(folder)
		return err
	}
	return nil
}

// runIn runs a command in a folder. Its error has what the command says.
func runIn(ctx context.Context, folder, name string, arguments ...string) error {
	cmd := exec.CommandContext(ctx, name, arguments...)
	cmd.Dir = folder
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, strings.TrimSpace(string(output)))
	}
	return nil
}

// Redis is a redis-server that keeps nothing on disk unless its arguments say so.
type Redis struct {
	backend

	// Address is its host:port.
	Address string

	// Password is what Command authenticates with. Default: not at all.
	Password string
}

// StartRedis starts a redis-server with further arguments, and returns once it accepts connections;
// the caller must call Close.
func StartRedis(ctx context.Context, arguments ...string) (*Redis, error) {
	binary, err := RedisServerBinary(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	return firstStart(ctx, func() (*Redis, error) { return newRedis(binary, arguments) })
}

func newRedis(binary string, arguments []string) (*Redis, error) {
	address, err := program.FreeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "chatcompletion-redis-")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	r := &Redis{Address: address}
	r.binary, r.dir = binary, dir
	r.arguments = []string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", dir}
	r.arguments = append(r.arguments, arguments...)
	r.ready = func(ctx context.Context) bool {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}
	return r, nil
}

// Freeze has the server do nothing, as on a machine that hangs, until Thaw.
func (r *Redis) Freeze() error { return syscall.Kill(r.process.Pid(), syscall.SIGSTOP) }

// Thaw ends Freeze.
func (r *Redis) Thaw() error { return syscall.Kill(r.process.Pid(), syscall.SIGCONT) }

// Kill ends the server at once, as a machine that fails.
func (r *Redis) Kill() { r.process.Kill() }

// commandTimeout bounds a command.
const commandTimeout = 10 * time.Second

// Command runs a command on a connection of its own. The reply is a string, or a list of them; nil is
// an empty string.
func (r *Redis) Command(words ...string) ([]string, error) {
	conn, err := net.DialTimeout("tcp", r.Address, commandTimeout)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(commandTimeout)); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(conn)
	if r.Password != "" {
		if _, err := exchange(conn, reader, "AUTH", r.Password); err != nil {
			return nil, err
		}
	}
	return exchange(conn, reader, words...)
}

// exchange sends a command, and returns its reply.
func exchange(conn net.Conn, reader *bufio.Reader, words ...string) ([]string, error) {
	command := fmt.Sprintf("*%d\r\n", len(words))
	for _, word := range words {
		command += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(conn, command); err != nil {
		return nil, err
	}
	return readReply(reader)
}

// readReply reads a reply in the Redis protocol.
func readReply(reader *bufio.Reader) ([]string, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, text := line[0], strings.TrimSpace(line[1:])
	switch kind {
	case '+', ':':
		return []string{text}, nil
	case '$', '*':
	default:
		return nil, fmt.Errorf("redis: %s", text)
	}
	count, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	if kind == '$' {
		content := make([]byte, max(count+2, 0))
		if _, err := io.ReadFull(reader, content); err != nil || count < 0 {
			return []string{""}, err
		}
		return []string{string(content[:count])}, nil
	}
	var all []string
	for range count {
		item, err := readReply(reader)
		if err != nil {
			return nil, err
		}
		all = append(all, item...)
	}
	return all, nil
}
