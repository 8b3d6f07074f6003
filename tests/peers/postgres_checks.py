# SPDX-License-Identifier: MIT
"""What asyncpg does to its transports, against a real server: checks of our own.

They stand in for asyncpg's tests where the source package with those cannot be had.
"""
import asyncio
import io
import os
import ssl
import unittest

import asyncpg

MUCH = 3_000_000


def verifying():
    return ssl.create_default_context(cafile=os.environ["AFN_PEER_CERTIFICATE"])


class Checks:
    """The same on each way to the server: a subclass says how to connect."""

    def parameters(self):
        return {"ssl": False}

    def run_checks(self, check):
        async def main():
            connection = await asyncpg.connect(**self.parameters())
            try:
                await check(connection)
            finally:
                await connection.close()
            self.assertTrue(connection.is_closed())

        asyncio.run(asyncio.wait_for(main(), 60))

    def test_queries(self):
        async def check(connection):
            self.assertEqual(await connection.fetchval("select $1::int + 1", 41), 42)
            rows = await connection.fetch("select generate_series(1, 50000) as n")
            self.assertEqual([row["n"] for row in rows], list(range(1, 50001)))

        self.run_checks(check)

    def test_long_values(self):
        data = os.urandom(MUCH)

        async def check(connection):
            self.assertEqual(await connection.fetchval("select $1::bytea", data), data)

        self.run_checks(check)

    def test_copy(self):
        text = "".join(f"{n}\t{'x' * 100}\n" for n in range(20000)).encode()

        async def check(connection):
            await connection.execute("create temporary table copied (n int, text text)")
            await connection.copy_to_table("copied", source=io.BytesIO(text))
            target = io.BytesIO()
            await connection.copy_from_query("select * from copied order by n", output=target)
            self.assertTrue(target.getvalue() == text)
            records = [(n, "record") for n in range(5000)]
            await connection.copy_records_to_table("copied", records=records)
            self.assertEqual(await connection.fetchval("select count(*) from copied"), 25000)

        self.run_checks(check)

    def test_cursors_and_transactions(self):
        async def check(connection):
            async with connection.transaction():
                seen = [row[0] async for row in connection.cursor(
                    "select generate_series(1, 3000)", prefetch=7)]
            self.assertEqual(seen, list(range(1, 3001)))
            with self.assertRaises(asyncpg.DivisionByZeroError):
                await connection.fetchval("select 1 / 0")

        self.run_checks(check)

    def test_cancellation(self):
        async def check(connection):
            with self.assertRaises(asyncio.TimeoutError):
                await connection.execute("select pg_sleep(30)", timeout=0.2)
            self.assertEqual(await connection.fetchval("select 1"), 1)

        self.run_checks(check)

    def test_notifications(self):
        async def check(connection):
            heard = asyncio.get_running_loop().create_future()
            await connection.add_listener("news", lambda *message: heard.set_result(message[3]))
            await connection.execute("notify news, 'hello'")
            self.assertEqual(await heard, "hello")
            await connection.reset()

        self.run_checks(check)

    def test_pool(self):
        async def use(pool, number):
            async with pool.acquire() as connection:
                return await connection.fetchval("select $1::int", number)

        async def main():
            async with asyncpg.create_pool(min_size=2, max_size=5, **self.parameters()) as pool:
                numbers = await asyncio.gather(*[use(pool, number) for number in range(60)])
            self.assertEqual(numbers, list(range(60)))

        asyncio.run(asyncio.wait_for(main(), 60))

    def test_terminated_connection(self):
        async def check(connection):
            other = await asyncpg.connect(**self.parameters())
            await connection.execute("select pg_terminate_backend($1)", other.get_server_pid())
            while not other.is_closed():
                await asyncio.sleep(0.01)
            with self.assertRaises(asyncpg.InterfaceError):
                await other.fetchval("select 1")

        self.run_checks(check)


class OverTcp(Checks, unittest.TestCase):
    pass


class OverUnix(Checks, unittest.TestCase):
    def parameters(self):
        return {"host": os.environ["AFN_PEER_SOCKETS"]}


class OverTls(Checks, unittest.TestCase):
    def parameters(self):
        return {"host": "localhost", "ssl": verifying()}

    def test_is_encrypted(self):
        async def check(connection):
            self.assertTrue(await connection.fetchval(
                "select ssl from pg_stat_ssl where pid = pg_backend_pid()"))

        self.run_checks(check)

    def test_wrong_authority(self):
        async def main():
            with self.assertRaises(ssl.SSLCertVerificationError):
                await asyncpg.connect(host="localhost", ssl=ssl.create_default_context())

        asyncio.run(main())
