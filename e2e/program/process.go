package program

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopGrace bounds how long a process may take to exit before it is killed.
const stopGrace = 5 * time.Second

// Process is a running program.
type Process struct {
	process *os.Process
	done    chan struct{}
}

// Start starts the command. The caller must call Stop.
func Start(cmd *exec.Cmd) (*Process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	process := &Process{process: cmd.Process, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // its log says how it ended
		close(process.done)
	}()
	return process, nil
}

// Pid returns the process ID.
func (p *Process) Pid() int { return p.process.Pid }

// Done returns a channel that is closed when the process has exited, for any reason.
func (p *Process) Done() <-chan struct{} { return p.done }

// Terminate sends SIGTERM and does not wait. The signal goes through the process handle, so it
// cannot reach another process that reuses the ID.
func (p *Process) Terminate() {
	_ = p.process.Signal(syscall.SIGTERM) // fails only if the process has exited
}

// Stop ends the process, and kills it if it does not exit in time.
func (p *Process) Stop() {
	p.Terminate()
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		p.Kill()
	}
}

// Kill ends the process at once, without a chance to do anything.
func (p *Process) Kill() {
	_ = p.process.Kill() // fails only if the process has exited
	<-p.done
}

// FreeAddress returns a loopback address on which nothing currently listens.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("no free loopback port: %w", err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}
