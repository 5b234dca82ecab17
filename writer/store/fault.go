package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Away reports of an error that the store cannot take anything now, whatever
// it is given: the server does not answer or is starting or full of
// connections, the disk is full or fails, the database is locked, read-only or
// refuses the user. The same records, given again later, may well be stored.
//
// Of any other error giving them again is of no use: a row was rejected, or the
// schema is not what it was.
func Away(err error) bool {
	if err == nil {
		return false
	}
	if errors.As(err, new(notReady)) {
		return true
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return sqliteAway(lite.Code())
	}
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		// Errors of files and memory have the lowest numbers.
		return my.Number < 1000 || mysqlAway[my.Number]
	}
	for _, gone := range []error{
		driver.ErrBadConn, mysql.ErrInvalidConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, // of connections
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, // of the disk
		context.Canceled, context.DeadlineExceeded, // nobody waited for an answer
	} {
		if errors.Is(err, gone) {
			return true
		}
	}
	var network net.Error // no route, refused, timed out, no such socket
	return errors.As(err, &network)
}

// notReady is why a store could not be made ready for a batch: its schema is that
// of a later version, say, or the server is too old. No row is to blame.
type notReady struct{ error }

func (e notReady) Unwrap() error { return e.error }

func sqliteAway(code int) bool {
	switch code & 0xff { // without the extended part
	case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_CANTOPEN,
		lib.SQLITE_READONLY, lib.SQLITE_NOMEM, lib.SQLITE_PERM, lib.SQLITE_INTERRUPT, lib.SQLITE_PROTOCOL:
		return true
	}
	return false
}

// mysqlAway are the errors of a server that say nothing about the rows. Those
// of a client library (2000 and up) are said by proxies too.
var mysqlAway = map[uint16]bool{
	1004: true, // file cannot be created: the disk is full, among other things
	1005: true, // table cannot be created, likewise
	1006: true, // database cannot be created, likewise
	1016: true, // file cannot be opened
	1021: true, // disk full, waiting for space
	1023: true, // error on close
	1024: true, // error reading a file
	1025: true, // error renaming a file
	1026: true, // error writing a file
	1028: true, // sort aborted
	1030: true, // error from the storage engine
	1036: true, // table is read-only
	1037: true, // out of memory
	1038: true, // out of sort memory
	1040: true, // too many connections
	1041: true, // out of resources
	1044: true, // access denied to the database
	1045: true, // access denied to the user
	1047: true, // unknown command: a cluster's node that is not in sync says so
	1049: true, // unknown database: it may come back, or be created
	1053: true, // the server shuts down
	1077: true, // normal shutdown
	1079: true, // shutdown complete
	1080: true, // a thread is forced to close
	1114: true, // table is full
	1129: true, // host is blocked after many errors
	1130: true, // host may not connect
	1142: true, // command denied on a table
	1143: true, // command denied on a column
	1152: true, // aborted connection
	1158: true, // error reading packets
	1159: true, // timeout reading packets
	1160: true, // error writing packets
	1161: true, // timeout writing packets
	1180: true, // error while committing
	1184: true, // new connection aborted
	1194: true, // table is crashed
	1195: true, // table is crashed, and repair failed
	1203: true, // user has too many connections
	1205: true, // lock wait timeout
	1206: true, // lock table is full
	1213: true, // deadlock
	1226: true, // user has used up a resource
	1227: true, // a privilege is missing
	1290: true, // read-only, or another option is in the way
	1317: true, // query was interrupted
	1637: true, // too many transactions at once
	1698: true, // access denied
	1792: true, // the transaction is read-only
	1815: true, // InnoDB failed within itself, which a full disk is enough for
	1836: true, // read-only mode
	1874: true, // InnoDB is read-only
	1877: true, // operation is not allowed on a tablespace that is corrupt
	1878: true, // temporary file: write failed
	1927: true, // connection was killed
	1969: true, // query exceeded max_statement_time
	2002: true, // no connection through the socket
	2003: true, // no connection to the host
	2005: true, // unknown host
	2006: true, // server has gone away
	2012: true, // error in the handshake
	2013: true, // connection lost
	3024: true, // query exceeded max_execution_time
	3100: true, // a plugin of replication refused the commit
	3101: true, // a cluster rolled back
	3168: true, // server is not configured as a slave yet
	3169: true, // session was killed
	3989: true, // server is shutting down
	4031: true, // client was disconnected for its inactivity
}

// mysqlRejects are the errors that a row is to blame for, or a batch for its size.
var mysqlRejects = map[uint16]bool{
	1048: true, // column cannot be null
	1062: true, // duplicate key
	1118: true, // row is too large
	1136: true, // columns and values are not as many
	1153: true, // packet is larger than max_allowed_packet: half a batch may not be
	1264: true, // out of range
	1265: true, // truncated
	1292: true, // incorrect value
	1364: true, // no default for a column that is not given
	1366: true, // incorrect value, or no UTF-8
	1367: true, // illegal number
	1390: true, // too many placeholders
	1406: true, // too long for the column
	1452: true, // a foreign key refuses it
	1526: true, // no partition for the value
	1644: true, // a trigger refuses it
	1690: true, // out of range of its type
	3819: true, // a check refuses it (MySQL)
	4025: true, // a check refuses it (MariaDB)
}

func mysqlRejected(err error) bool {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return mysqlRejects[e.Number]
	}
	return errors.Is(err, mysql.ErrPktTooLarge)
}
