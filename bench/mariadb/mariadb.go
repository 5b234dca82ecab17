// Package mariadb runs a private MariaDB for tests: the server of the system's
// package, on a folder and a socket of its own, without a network port. It can
// be stopped, killed and started again, as servers are.
package mariadb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// ErrMissing is returned where MariaDB is not installed.
var ErrMissing = errors.New("no MariaDB server here (Debian: apt-get install mariadb-server-core mariadb-client-core)")

// NoSync is an argument for tests that no power cut follows: the disk is not
// waited for. What was stored survives Kill all the same.
const NoSync = "--debug-no-sync"

// startWait is how long a server may take to answer, or to end.
const startWait = time.Minute

// Server is a MariaDB with its folder. Its methods are not for concurrent use.
type Server struct {
	Dir    string // of the data, the socket and the log; Remove removes it
	Socket string

	program string
	as      *syscall.Credential // whom the server runs as; nil: who runs the test
	args    []string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process is over
}

// New makes an empty database and starts its server. The arguments are added
// to the server's command line, such as --ssl-ca=FILE. Its user root has no
// password, and may do anything.
func New(args ...string) (*Server, error) {
	program, err := find("mariadbd")
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	// Short, since the path of a socket must fit 107 bytes.
	dir, err := os.MkdirTemp("", "mariadb-")
	if err != nil {
		return nil, fmt.Errorf("make folder for MariaDB: %w", err)
	}
	s := &Server{Dir: dir, Socket: filepath.Join(dir, "socket"), program: program, args: args}
	if s.as, err = account(dir); err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	cmd := exec.Command(install, append([]string{"--no-defaults", "--datadir=" + s.data(),
		"--auth-root-authentication-method=normal", "--skip-test-db"}, s.insist()...)...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, s.environment(), &syscall.SysProcAttr{Credential: s.as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("make an empty database: %w: %s", err, out), s.Remove())
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return s, nil
}

// find is the path of a program, also where PATH has no folders of the system.
func find(program string) (string, error) {
	for _, name := range []string{program, "/usr/sbin/" + program, "/usr/bin/" + program, "/usr/local/bin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("find %s: %w", program, ErrMissing)
}

// account is whom the server runs as: whoever runs the test, but instead of
// root the account of the package, if there is one. It is given the folder.
func account(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("mysql")
	if err != nil {
		return nil, nil
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("read account mysql: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("read account mysql: %w", err)
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return nil, fmt.Errorf("give folder to mysql: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// insist is what lets root run a server as root.
func (s *Server) insist() []string {
	if s.as == nil && os.Getuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// environment gives it a folder for temporary tables of its own: a server that starts
// removes those that it finds, of whatever server they are.
func (s *Server) environment() []string { return append(os.Environ(), "TMPDIR="+s.Dir) }

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

// Start starts the server, and returns when it answers.
func (s *Server) Start() error {
	if s.cmd != nil {
		return errors.New("start MariaDB: it runs already")
	}
	log, err := os.Create(filepath.Join(s.Dir, "log"))
	if err != nil {
		return fmt.Errorf("start MariaDB: %w", err)
	}
	defer log.Close()
	args := []string{"--no-defaults", "--datadir=" + s.data(), "--socket=" + s.Socket,
		"--pid-file=" + filepath.Join(s.Dir, "pid"), "--skip-networking", "--skip-log-bin",
		"--innodb-buffer-pool-size=128M", "--innodb-log-file-size=128M", "--lower-case-table-names=0"}
	cmd := exec.Command(s.program, slices.Concat(args, s.insist(), s.args)...)
	cmd.Stdout, cmd.Stderr = log, log
	// Nothing is left behind if the test dies. The account is not changed by the
	// server itself, which would make the kernel forget that.
	cmd.Dir, cmd.Env, cmd.SysProcAttr = s.Dir, s.environment(), &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: s.as}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // whose end would kill the server
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start MariaDB: %w", err)
	}
	s.cmd, s.done = cmd, done
	for end := time.Now().Add(startWait); ; {
		if s.answers() {
			return nil
		}
		select {
		case <-done:
			s.cmd = nil
			return fmt.Errorf("start MariaDB: it ended at once: %s", s.log())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("start MariaDB: no answer within %v: %s", startWait, s.log()), s.Kill())
		}
	}
}

// answers reports whether the server greets who connects.
func (s *Server) answers() bool {
	c, err := net.DialTimeout("unix", s.Socket, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	var greeting [5]byte // length, number, version of the protocol
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	_, err = io.ReadFull(c, greeting[:])
	return err == nil && greeting[4] == 10
}

// log is the end of what the server said.
func (s *Server) log() []byte {
	text, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(text[max(0, len(text)-2000):])
}

// Stop ends the server as its operator would. Stopping again does nothing.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Kill ends the server as a crash would.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

func (s *Server) end(how os.Signal) error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end MariaDB: %w", err)
	}
	select {
	case <-s.done:
	case <-time.After(startWait):
		return fmt.Errorf("end MariaDB: it did not within %v: %s", startWait, s.log())
	}
	s.cmd = nil
	return nil
}

// Remove ends the server and removes its folder.
func (s *Server) Remove() error { return errors.Join(s.Kill(), os.RemoveAll(s.Dir)) }

// DSN names a database of the server, to a store.
func (s *Server) DSN(database string) string {
	return "mysql://root@unix(" + s.Socket + ")/" + url.PathEscape(database)
}
