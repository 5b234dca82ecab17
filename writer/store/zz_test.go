package store
import ("testing";"fmt")
func TestZZ(t *testing.T){
 s:=open(t,Memory)
 execOn(t,s.write,"CREATE INDEX zz ON calls (start_at / 3600000000000, mos_min)")
 for _,q:=range []string{"SELECT start_at AS start_at, id AS id FROM calls INDEXED BY zz WHERE start_at / 3600000000000 IN (498000,498001) AND mos_min < 3.5 AND start_at >= 5 AND start_at < 1798000000000000000",
 "SELECT start_at AS start_at, id AS id FROM calls INDEXED BY zz WHERE start_at / 3600000000000 = 4980 AND mos_min = 3.5 AND start_at >= 5 ORDER BY start_at DESC, id DESC LIMIT 5",
 "SELECT start_at AS start_at, id AS id FROM calls INDEXED BY calls_mos WHERE hour = 4980 AND mos_min = 3.5 AND start_at >= 5 ORDER BY start_at DESC, id DESC LIMIT 5"} {
 fmt.Println(plan(t,s,q))
 }
}
